"""Memory that the pool shares with one worker, so that texts need not pass through a pipe.

It holds a few slots of equal size. The parent fills a free one and names it in the frame; it is free again
when the job is answered. A body that finds no slot, or is larger than one, goes through the pipe.
"""

from __future__ import annotations

import mmap
import os

SLOTS = 4
SLOT_BYTES = 1 << 23


class Mailbox:
    """The parent's side. `descriptor` is what the worker opens with `open_mailbox`."""

    def __init__(self) -> None:
        """Raises `OSError` where the system gives no such memory."""
        self.descriptor = os.memfd_create("pytest-bench-texts", os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, SLOTS * SLOT_BYTES)
        self._memory = mmap.mmap(self.descriptor, SLOTS * SLOT_BYTES)
        self._holders: list[int | None] = [None] * SLOTS

    def put(self, job: int, body: bytearray) -> int | None:
        """Lay `body` down for `job` and return its slot; None where there is no room."""
        if len(body) > SLOT_BYTES or None not in self._holders:
            return None
        slot = self._holders.index(None)
        self._holders[slot] = job
        start = slot * SLOT_BYTES
        self._memory[start : start + len(body)] = body
        return slot

    def release(self, job: int) -> None:
        """`job` was answered: what lay here for it is not needed any more."""
        if job in self._holders:
            self._holders[self._holders.index(job)] = None

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)


def open_mailbox(descriptor: int) -> memoryview:
    """The worker's side: all slots, read-only."""
    return memoryview(mmap.mmap(descriptor, SLOTS * SLOT_BYTES, prot=mmap.PROT_READ))


def slot_view(memory: memoryview, slot: int, length: int) -> memoryview:
    """The body that lies in `slot`."""
    start = slot * SLOT_BYTES
    return memory[start : start + length]
