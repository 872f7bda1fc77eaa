"""Counters that load workers publish and their supervisor reads, in shared memory without a name.

One row of int64 cells a worker, after one start time a leg. Each cell has one writer; an aligned eight-byte
store is never seen half done. The file behind it is unlinked from the start, so nothing can be left behind.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from enum import IntEnum


class Cell(IntEnum):
    """Columns of a worker's row."""

    HEARTBEAT_NS = 0
    ISSUED = 1
    SUCCEEDED = 2
    FAILED = 3
    IN_FLIGHT = 4
    EVENTS = 5


class Board:
    """The shared counters of one run, mapped from `fd`."""

    def __init__(self, fd: int, legs: int, workers: int) -> None:
        self.workers = workers
        self._legs = legs
        self._map = mmap.mmap(fd, 8 * self.cells(legs, workers))
        self._view = memoryview(self._map).cast("q")

    @staticmethod
    def cells(legs: int, workers: int) -> int:
        return legs + len(Cell) * workers

    @classmethod
    def create(cls, legs: int, workers: int) -> tuple[int, Board]:
        """A new board and the descriptor that workers inherit; the caller closes the descriptor."""
        fd = anonymous_file()
        os.ftruncate(fd, 8 * cls.cells(legs, workers))
        return fd, cls(fd, legs, workers)

    def set(self, worker: int, cell: Cell, value: int) -> None:
        self._view[self._legs + worker * len(Cell) + cell] = value

    def get(self, worker: int, cell: Cell) -> int:
        return self._view[self._legs + worker * len(Cell) + cell]

    def total(self, cell: Cell) -> int:
        """The sum of a column over all workers."""
        return sum(self.get(worker, cell) for worker in range(self.workers))

    def set_leg_start(self, leg: int, at_ns: int) -> None:
        self._view[leg] = at_ns

    def leg_start(self, leg: int) -> int:
        """When the leg began, or 0 where it has not."""
        return self._view[leg]

    def close(self) -> None:
        self._view.release()
        self._map.close()


def anonymous_file() -> int:
    """A regular file that has no name. Regular, because only there do processes that share the open file
    see one offset whose advance is atomic."""
    with tempfile.TemporaryFile() as stream:
        return os.dup(stream.fileno())
