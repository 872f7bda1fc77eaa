"""Runs an external eval harness, whose processes never outlive its point."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from pytest_bench.child import Child, python
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.evals.leash import Ended, Order

NECESSARY = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""Variables that a harness inherits, without which programs and caches are not found. All others are declared."""

STDOUT, STDERR = "harness.stdout.log", "harness.stderr.log"
GRACE_S = 10.0
"""Time between SIGTERM and SIGKILL."""
_OVERDUE = 124
"""Exit status of a harness that was ended at its time limit, as of the command `timeout`."""
_SPARE_S = 5.0


class HarnessEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a harness ended."""

    status: int
    """Its exit status, from 0 to 255; 128 plus the number of the signal that ended it, as in shells."""
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

    Its whole process group is ended when it ends, when the limit is reached, when this process is interrupted, and when
    this process is killed. Raises `UsageError` if it cannot be started.
    """
    logs.mkdir(parents=True, exist_ok=True)
    order = Order(
        command=tuple(command),
        environment=dict(environment),
        working_folder=str(working_folder),
        stdout=str(logs / STDOUT),
        stderr=str(logs / STDERR),
        grace_s=GRACE_S,
    )
    started_s = time.time()
    child = Child(python("pytest_bench.evals.leash"))
    try:
        child.send(msgspec.json.encode(order) + b"\n")
        overdue = not child.readable(time_limit_s)
        if overdue:
            child.stdin.close()
        line = child.first_line(GRACE_S + _SPARE_S)
    finally:
        child.stop(GRACE_S + _SPARE_S)
    if line is None:
        said = child.stderr_tail() or "it wrote no error"
        raise EvidenceError(f"the process that ran {command[0]!r} was ended: {said}")
    ended = msgspec.json.decode(line, type=Ended)
    if ended.status is None:
        raise UsageError(
            f"the eval's command {command[0]!r} cannot be started in {working_folder}: {ended.problem}; name a program "
            "by its path, or one that PATH finds"
        )
    status = _OVERDUE if overdue else ended.status if ended.status >= 0 else 128 - ended.status
    return HarnessEnd(status=status, overdue=overdue, started_s=started_s, ended_s=time.time())


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a harness inherits from the environment of this process."""
    return {name: environ[name] for name in NECESSARY if name in environ}
