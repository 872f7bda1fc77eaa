"""A folder whose session has not ended: why, what it holds, and what can be done."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.perf.recount import has_measured
from pytest_bench.results import evidence, layout
from pytest_bench.results.settle import Settled, is_folder
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.verdict import Verdict

_NAMES_SHOWN = 4


def refused(said: Verdict) -> Iterator[str]:
    """Why nothing was run, in a folder that only a refused call has used."""
    yield f"nothing was run: the call was refused: {' '.join(fault.sentence for fault in said.faults)}"


def why_not_ended(results: Path, settled: Settled) -> Iterator[str]:
    """Why the session has not ended, what became of its points, and what can be done."""
    if _is_running(results):
        yield "its session is still running, and its verdict red until that has ended: verify it then"
        return
    states: dict[str, list[str]] = {"judged": [], "measured": [], "cut off": [], "not begun": []}
    for point in settled.plan.points if settled.plan else ():
        states[_state(results, point)].append(point.id)
    held = "; ".join(f"{what}: {_named(names)}" for what, names in states.items() if names)
    yield (
        "its session did not end: it was killed, or its machine was. Its verdict is the red one that it began with. "
        f"Of its points, {held or 'none was planned'}"
    )
    words = shlex.join(settled.called.invocation.command_line)
    yield f"next: run it again, into a new folder: pytest {words}"
    if states["judged"] or states["measured"]:
        yield (
            f"or see what was measured: pytest-bench recount {shlex.quote(str(results))} counts and measures points "
            "again that have all their requests; it makes no verdict"
        )
    yield from (fault.sentence for fault in settled.verdict.faults if fault.code == "damaged")


def _state(results: Path, point: Point) -> str:
    path = layout.point_path(point.id)
    if not is_folder(results, path):
        return "not begun"
    if os.path.lexists(results / path / evidence.NAME):
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
        held = os.open(results / layout.LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
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
