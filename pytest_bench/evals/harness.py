"""Runs an external eval harness as a process group of its own, which never outlives its point."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pytest_bench.errors import UsageError

NECESSARY = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""Variables that a harness inherits, without which programs and caches are not found. All others are declared."""

STDOUT, STDERR = "harness.stdout.log", "harness.stderr.log"
GRACE_S = 10.0
"""How long the group has after SIGTERM, before SIGKILL."""
_OVERDUE = 124
"""Exit status that stands for a harness that was ended at its time limit, as `timeout` has it."""


class HarnessEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a harness ended."""

    status: int
    """Its exit status, from 0 to 255; 128 and the signal if a signal ended it, as shells have it."""
    overdue: bool
    """Whether it was ended at its time limit. The status is then 124."""
    started_s: float
    """Seconds since 1970."""
    ended_s: float


def run_harness(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    working_folder: Path,
    logs: Path,
    time_limit_s: float,
) -> HarnessEnd:
    """Run `command` to its end, its output in two files of the folder `logs`.

    Its whole process group is ended when it ends, when the limit is reached, and when this process is interrupted.
    Raises `UsageError` if it cannot be started.
    """
    logs.mkdir(parents=True, exist_ok=True)
    started_s = time.time()
    with (logs / STDOUT).open("wb") as out, (logs / STDERR).open("wb") as errors:
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=working_folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                process_group=0,
            )
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the eval's command {command[0]!r} cannot be started in {working_folder}: {error}; name a program "
                "by its path, or one that PATH finds"
            ) from error
        overdue = False
        try:
            process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            overdue = True
        finally:
            _end_group(process)
    status = process.returncode
    status = _OVERDUE if overdue else status if status >= 0 else 128 - status
    return HarnessEnd(status=status, overdue=overdue, started_s=started_s, ended_s=time.time())


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a harness inherits from the environment of this process."""
    return {name: environ[name] for name in NECESSARY if name in environ}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End every process of the group: SIGTERM, and SIGKILL for those that are still there after a while."""
    try:
        if _signal(process.pid, signal.SIGTERM):
            until = time.monotonic() + GRACE_S
            while time.monotonic() < until and _signal(process.pid, 0):
                process.poll()
                time.sleep(0.01)
    finally:
        _signal(process.pid, signal.SIGKILL)
        process.wait()


def _signal(group: int, number: int) -> bool:
    """Send a signal to the group; returns whether there is any process in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False
