"""How long the loop takes to wake up after bytes arrived.

A poll that waits returns shortly after the first bytes arrive. So what is read after such a poll arrived at most this
*wake delay* before the poll returned, even if the kernel's stamp says only when the last byte did.

A wake delay has two parts. The kernel counts for how long the thread waited for a CPU. The rest is measured where a
read holds a single event, whose stamp is exact. Its bound is the second longest of 256 measurements, of the current 256
or those before. A read in the middle of a stream that holds several events may be the result of a late wake. It counts
as late as it may have been, so the bound grows where late wakes cannot be measured.
"""

from __future__ import annotations

import os

_BLOCK = 256
_UNKNOWN_NS = 1 << 61
_SHORTEST_WAIT_NS = 100_000
"""A poll that took less than this beside the time without a CPU may have returned without waiting."""
_LONGEST_LINE = 64


class WakeDelay:
    """The wake delays of one loop, and its current turn."""

    __slots__ = (
        "_count",
        "_fd",
        "_longest_ns",
        "_previous_ns",
        "_second_ns",
        "_turn_ns",
        "_turn_without_cpu_ns",
        "_waits_ns",
        "begun_ns",
        "due_ns",
        "woken_ns",
    )

    def __init__(self) -> None:
        self.begun_ns = 0
        """When the turn's poll began."""
        self.woken_ns = 0
        """When it returned; 0 if it did not wait."""
        self.due_ns = 0
        """When the first timer was due, if it was due when the poll returned; else when it returned."""
        self._count = 0
        self._longest_ns = self._second_ns = 0
        self._previous_ns = _UNKNOWN_NS
        self._fd: int | None = None
        self._waits_ns = 0
        self._turn_ns = -1
        self._turn_without_cpu_ns = _UNKNOWN_NS

    def open(self) -> None:
        """Read the CPU waits of this thread from now on. Without `/proc`, no bound is known."""
        self.close()
        try:
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        self.without_cpu_ns()

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def arrived(self, at_ns: int) -> None:
        """Bytes that this turn read arrived at `at_ns`, or perhaps then. They count if they woke the loop."""
        delay_ns = self.woken_ns - at_ns - self.without_cpu_ns()
        if at_ns > self.due_ns or delay_ns < 0:
            return
        if delay_ns > self._second_ns:
            self._second_ns = min(delay_ns, self._longest_ns)
            self._longest_ns = max(delay_ns, self._longest_ns)
        self._count += 1
        if self._count == _BLOCK:
            self._previous_ns = self._second_ns
            self._longest_ns = self._second_ns = self._count = 0

    def earliest_ns(self, stamp_ns: int) -> int:
        """Lower bound on when the first bytes of a read of this turn arrived; 0 if none is known.

        `stamp_ns`: when the last ones did.
        """
        without_cpu_ns = self.without_cpu_ns()
        if not self.woken_ns or self.woken_ns - self.begun_ns - without_cpu_ns < _SHORTEST_WAIT_NS:
            return 0
        bound_ns = self.woken_ns - without_cpu_ns - max(self._second_ns, self._previous_ns)
        return bound_ns if bound_ns <= min(stamp_ns, self.due_ns) else 0

    def without_cpu_ns(self) -> int:
        """Upper bound on how long the thread waited for a CPU while it woke up in this turn: since the last turn that
        asked for it (sched-stats of the kernel)."""
        if self._turn_ns != self.begun_ns:
            self._turn_ns = self.begun_ns
            if self._fd is not None:
                before_ns = self._waits_ns
                self._waits_ns = int(os.pread(self._fd, _LONGEST_LINE, 0).split()[1])
                self._turn_without_cpu_ns = self._waits_ns - before_ns
        return self._turn_without_cpu_ns
