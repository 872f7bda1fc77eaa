"""A folder whose session was never settled: why, what it holds, and what can be done."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.perf.recount import has_measured
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.suite.plan_file import PlanFile
from pytest_bench.verdict.record import LOCK
from pytest_bench.verdict.record import NAME as LEDGER
from pytest_bench.verdict.verdict import NOT_ENDED, Verdict

_NAMES_SHOWN = 4


def why_unsettled(
    results: Path, said: Verdict | None, planned: PlanFile | None, begun: Collection[str]
) -> Iterator[str]:
    """Why `results` have no ledger, in sentences, where the verdict that `said` something tells; else nothing.

    `begun` are the points that have a folder.
    """
    if said is None or os.path.lexists(results / LEDGER):
        return
    if said.refused and planned is None:
        yield f"nothing was run: the call was refused: {' '.join(fault.sentence for fault in said.faults)}"
    elif planned is not None and any(fault.code == NOT_ENDED for fault in said.faults):
        yield from _never_ended(results, said, planned.plan, begun)


def _never_ended(results: Path, said: Verdict, plan: Plan, begun: Collection[str]) -> Iterator[str]:
    if _is_running(results):
        yield "its session is still running, and its verdict red until that has ended: verify it then"
        return
    states: dict[str, list[str]] = {"judged": [], "measured": [], "cut off": [], "not begun": []}
    for point in plan.points:
        states[_state(results, point) if point.id in begun else "not begun"].append(point.id)
    held = "; ".join(f"{what}: {_named(names)}" for what, names in states.items() if names)
    yield (
        "its session did not end: it was killed, or its machine was. Its verdict is the red one that it began with, "
        f"and no ledger says what came after. Of its points, {held}"
    )
    yield f"next: run it again, into a new folder: pytest {shlex.join(said.invocation)}"
    if states["judged"] or states["measured"]:
        yield (
            f"or see what was measured: pytest-bench recount {shlex.quote(str(results))} counts and measures points "
            "again that have all their requests; it makes no verdict"
        )


def _state(results: Path, point: Point) -> str:
    if os.path.lexists(results / "points" / point.id / "evidence.json"):
        return "judged"
    try:
        return "measured" if has_measured(results, point) else "cut off"
    except EvidenceError:
        return "cut off"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


def _is_running(results: Path) -> bool:
    """Whether a process holds the folder, as far as its file system tells.

    Its lock is taken for a moment, and nothing is written.
    """
    try:
        held = os.open(results / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(held)
    return False
