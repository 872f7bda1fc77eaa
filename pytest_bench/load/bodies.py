"""Encoded request bodies in one file: written once by the parent, mapped by every load worker.

Layout: `MAGIC`, the number of bodies, one end offset per body (all little-endian uint64), the bodies.
Each body is stored with the rest of its HTTP head (Content-Length and the blank line), so that issuing a
request is one concatenation.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable
from pathlib import Path

MAGIC = b"PBBODY01"
_HEADER = struct.Struct("<8sQ")


def write(path: Path, bodies: Iterable[bytes]) -> int:
    """Write `bodies` to `path` and return how many there were."""
    payloads = [b"Content-Length: %d\r\n\r\n%b" % (len(body), body) for body in bodies]
    ends, total = [], 0
    for payload in payloads:
        total += len(payload)
        ends.append(total)
    with path.open("xb") as stream:
        stream.write(_HEADER.pack(MAGIC, len(payloads)))
        stream.write(struct.pack(f"<{len(ends)}Q", *ends))
        stream.writelines(payloads)
    return len(payloads)


class Bodies:
    """Read access to a body file. `bodies[i]` is the tail of request i: end of its head, and its body."""

    __slots__ = ("_base", "_ends", "_map", "count")

    def __init__(self, path: str) -> None:
        with Path(path).open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        magic, self.count = _HEADER.unpack_from(self._map)
        if magic != MAGIC:
            raise ValueError(f"{path}: not a file of request bodies")
        self._base = _HEADER.size + 8 * self.count
        self._ends = memoryview(self._map)[_HEADER.size : self._base].cast("Q")

    def __getitem__(self, index: int) -> bytes:
        begin = self._ends[index - 1] if index else 0
        return self._map[self._base + begin : self._base + self._ends[index]]
