"""A sequence of numbers that may be too long for memory."""

from __future__ import annotations

import io
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 20
"""Values in one chunk: 8 MiB."""


class Spool:
    """64-bit integers, appended, then read any number of times from the start.

    The first `memory` values stay in memory; the rest go to a temporary file without a name in `folder`, which
    the system removes together with the spool, however the process ends.
    """

    def __init__(self, *, folder: Path | None = None, memory: int = 8 * CHUNK) -> None:
        self._folder = folder
        self._memory = memory
        self._pending = array("q")
        self._chunks: list[NDArray[np.int64]] = []
        self._file: io.FileIO | None = None
        self.count = 0

    def extend(self, values: Iterable[int]) -> None:
        """Append values. Raises `OSError` when the temporary file cannot be written."""
        before = len(self._pending)
        self._pending.extend(values)
        self.count += len(self._pending) - before
        if len(self._pending) >= CHUNK:
            self._flush()

    def _flush(self) -> None:
        values, self._pending = self._pending, array("q")
        if sum(chunk.size for chunk in self._chunks) < self._memory:
            self._chunks.append(np.frombuffer(values, dtype=np.int64))
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 # closed with the spool
            weakref.finalize(self, self._file.close)
        view = memoryview(values).cast("B")
        while view:
            view = view[self._file.write(view) :]

    def chunks(self) -> Iterator[NDArray[np.int64]]:
        """All values in order of arrival, about `CHUNK` at a time."""
        yield from self._chunks
        if self._file is not None:
            for offset in range(0, self._file.seek(0, 2), CHUNK * 8):
                self._file.seek(offset)
                yield np.frombuffer(self._file.read(CHUNK * 8), dtype=np.int64)
        if self._pending:
            yield np.array(self._pending, dtype=np.int64)
