"""A child process that shares its parent's terminal and signals, and whose descendants are ended with it.

It is not a `child.Child`, which has pipes and a process group of its own: pytest's output and Ctrl-C are the user's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_bench.child import adopt_descendants

_FORWARDED = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)
_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_FROM_KERNEL = 0x80
"""`si_code` of a signal from the terminal, which the child, in the same process group, receives too."""
_GRACE_S = 20.0
"""Long enough for a watchdog to remove a container."""


def start(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, mask: Iterable[int] | None = None
) -> subprocess.Popen[bytes]:
    """Start a child whose orphans become children of this process. Afterwards, only `wait` receives signals.

    `mask`: signals that the child blocks; None: those that this process blocks now. A process that starts several
    children names those that it blocked before the first.
    """
    adopt_descendants()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
    blocked = before if mask is None else mask

    def restore() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    return subprocess.Popen(command, env=environment, preexec_fn=restore)  # noqa: PLW1509 # no other thread runs


def wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the child and forward every signal to it. Returns its exit status; negative: ended by a signal."""
    return wait_with_signals(child)[0]


def wait_with_signals(child: subprocess.Popen[bytes]) -> tuple[int, bool]:
    """As `wait`; also whether this process was asked to end, even if the child had ended before."""
    ending = {number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    asked = False
    while (status := child.poll()) is None:
        received = signal.sigwaitinfo({*_FORWARDED, signal.SIGCHLD})
        asked = asked or received.si_signo in ending
        if received.si_signo in _FORWARDED and received.si_code != _FROM_KERNEL:
            child.send_signal(received.si_signo)
    return status, asked or asked_to_end(ending)


def asked_to_end(signals: Iterable[int] = _ENDING) -> bool:
    """Whether a blocked signal that asks this process to end is pending. Such signals are taken."""
    asked = False
    while signal.sigtimedwait(signals, 0) is not None:
        asked = True
    return asked


def end_descendants() -> None:
    """End every descendant of this process: SIGTERM first, SIGKILL for those that are left after `_GRACE_S`."""
    for number, grace_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, _GRACE_S)):
        for pid in _descendants():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until = time.monotonic() + grace_s
        while list(_descendants()) and time.monotonic() < until:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)


def _descendants() -> Iterator[int]:
    """Running descendants of this process, according to /proc."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
            if above == os.getpid():
                yield pid
