"""Encoded request bodies in one file: written once by the parent process, mapped by every load worker.

Layout: `MAGIC`, the bodies, one end offset per body, the number of bodies (uint64 as this machine has them).
Each body is stored with the rest of its HTTP head (Content-Length and the blank line), so that issuing a
request is one concatenation.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pytest_bench.load.counters import anonymous_file

MAGIC = b"PBBODY02"
_COUNT = struct.Struct("=Q")


def write(path: Path, bodies: Iterable[bytes]) -> int:
    """Write `bodies` to `path`, one at a time, and return how many there were."""
    with path.open("xb") as stream:
        return _write(stream, bodies)


@contextmanager
def anonymous(bodies: Iterable[bytes]) -> Iterator[str]:
    """Write `bodies` to a file without a name, which cannot outlive this process.

    Yields a path that only this process can open. Raises `LoadError` if the file cannot be written.
    """
    fd = anonymous_file(lambda stream: _write(stream, bodies))
    try:
        yield f"/dev/fd/{fd}"
    finally:
        os.close(fd)


def _write(stream: IO[bytes], bodies: Iterable[bytes]) -> int:
    ends, end = array("Q"), len(MAGIC)
    stream.write(MAGIC)
    for body in bodies:
        payload = b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        stream.write(payload)
        end += len(payload)
        ends.append(end)
    stream.write(ends)
    stream.write(_COUNT.pack(len(ends)))
    return len(ends)


class Bodies:
    """Read access to a body file. `bodies[i]` is the end of the head of request i, and its body."""

    __slots__ = ("_ends", "_map", "count")

    def __init__(self, fd: int) -> None:
        """`fd` is open for reading and is not closed here. Raises `ValueError` if it is not a body file."""
        self._map = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        if self._map[: len(MAGIC)] != MAGIC:
            raise ValueError("not a file of request bodies")
        trailer = len(self._map) - _COUNT.size
        [self.count] = _COUNT.unpack_from(self._map, trailer)
        self._ends = memoryview(self._map)[trailer - 8 * self.count : trailer].cast("Q")

    def __getitem__(self, index: int) -> bytes:
        begin = self._ends[index - 1] if index else len(MAGIC)
        return self._map[begin : self._ends[index]]
