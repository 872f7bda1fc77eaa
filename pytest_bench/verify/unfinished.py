"""Describes a folder whose session has not ended: why, what it contains, and what to do next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.perf.recount import has_measured
from pytest_bench.results import evidence, layout
from pytest_bench.results.lock import is_in_use
from pytest_bench.results.resuming import resume_command
from pytest_bench.results.settle import Settled, is_folder
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.verdict import Verdict
from pytest_bench.wording import first_of

_NAMES_SHOWN = 4


def refused(verdict: Verdict) -> Iterator[str]:
    """Yield why nothing was run, for a folder that contains only a refused call."""
    yield f"nothing was run: the call was refused: {' '.join(fault.sentence for fault in verdict.faults)}"


def why_unfinished(results: Path, settled: Settled) -> Iterator[str]:
    """Yield why the session has not ended, the state of its points, and what to do next."""
    if is_in_use(results):
        yield "the session is still running, and its verdict is red until it ends: verify it then"
        return
    states: dict[str, list[str]] = {"judged": [], "measured": [], "cut off": [], "not started": []}
    for point in settled.plan.points if settled.plan else ():
        states[_state(results, point)].append(point.id)
    found = "; ".join(f"{what}: {first_of(names, _NAMES_SHOWN)}" for what, names in states.items() if names)
    yield (
        "the session did not finish: its process was killed or the machine stopped. Its verdict is the red one from "
        f"its start. Points: {found or 'none planned'}"
    )
    words = settled.called.invocation.command_line
    if any((results / layout.POINTS).rglob(layout.CHECKPOINT)):
        yield f"next: continue its evals in this folder: {resume_command(words, results, Path.cwd())}"
    yield f"next: run it again with a new folder: pytest {shlex.join(words)}"
    if states["judged"] or states["measured"]:
        yield (
            f"or measure what exists: pytest-bench recount {shlex.quote(str(results))} counts tokens and measures the "
            "points that have all their requests; it writes no verdict"
        )
    yield from (fault.sentence for fault in settled.verdict.faults if fault.code == "damaged")


def _state(results: Path, point: Point) -> str:
    path = layout.point_path(point.id)
    if not is_folder(results, path):
        return "not started"
    if os.path.lexists(results / path / evidence.NAME):
        return "judged"
    try:
        return "measured" if has_measured(results, point) else "cut off"
    except EvidenceError:
        return "cut off"
