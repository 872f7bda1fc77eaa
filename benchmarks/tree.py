"""Run one command and account for every process it starts.

    python tree.py RESULT SECONDS MEMORY CORE COMMAND...

Becomes the reaper of all descendants, so that CPU time of processes that outlive their parent counts
as well. Writes RESULT, one JSON object: CPU and wall seconds, exit status, peak memory (the summed
proportional set size, sampled where MEMORY is 1) and whether SECONDS ran out. CORE is a number, or `-`.
Standard library only, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10
"""How long processes may outlive the command before they are killed."""


def descendants(pid: int) -> list[int]:
    """Processes below `pid`, as far as they can be read while they come and go."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def proportional_set_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class PeakMemory(threading.Thread):
    """Samples the memory of all descendants four times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.25):
            total = sum(proportional_set_bytes(pid) for pid in descendants(os.getpid()))
            self.peak_bytes = max(self.peak_bytes, total)


def kill_descendants() -> None:
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    result, seconds, memory, core, *command = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if core != "-":
        os.sched_setaffinity(0, {int(core)})
    account = {"cpu_s": 0.0, "wall_s": 0.0, "status": -1, "peak_bytes": 0, "timed_out": False}

    def out_of_time(_number: int, _frame: object) -> None:
        account["timed_out"] = True
        kill_descendants()

    signal.signal(signal.SIGALRM, out_of_time)
    sampler = PeakMemory()
    if memory == "1":
        sampler.start()
    started_ns = time.monotonic_ns()
    child = os.posix_spawnp(command[0], command, os.environ)
    signal.alarm(int(seconds))
    try:
        while True:
            pid, status, usage = os.wait4(-1, 0)
            account["cpu_s"] += usage.ru_utime + usage.ru_stime
            if pid == child:
                ended_ns = time.monotonic_ns()
                account["status"] = os.waitstatus_to_exitcode(status)
                account["started_ns"], account["ended_ns"] = started_ns, ended_ns
                signal.alarm(GRACE_S)
    except ChildProcessError:
        signal.alarm(0)
    finally:
        kill_descendants()
    sampler.stop.set()
    account["peak_bytes"] = sampler.peak_bytes
    Path(result).write_text(json.dumps(account))


if __name__ == "__main__":
    main()
