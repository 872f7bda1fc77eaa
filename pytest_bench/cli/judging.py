"""Judging a results folder again, for commands that show or verify one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pytest_bench.audits.registry import Registry, registry
from pytest_bench.cli.contributions import contributions
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.results.layout import EVENTS, PLAN, POINTS, VERDICT
from pytest_bench.results.plan_file import read_plan
from pytest_bench.scoring import SCORINGS, Scorings, all_scorings

_OURS = frozenset({PLAN, VERDICT, EVENTS, POINTS})


def is_session(folder: Path) -> bool:
    """Whether a folder holds results of a session."""
    return any(path.name in _OURS for path in folder.iterdir())


def require_session(folder: Path) -> None:
    """Raises `UsageError` for anything but a folder with results of a session."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder; name the results folder of a session")
    if not is_session(folder):
        raise UsageError(f"{folder}: holds no results of a session; name a folder with a plan.json")


class Judges(NamedTuple):
    """What judges points again, shipped and of third parties."""

    audits: Registry
    scorings: Scorings


def judges_for(folder: Path, plugins: Sequence[str]) -> Judges:
    """The audits and scorers that can be judged with here. Code of plugins is loaded only if it is named or needed.

    Raises `UsageError` for a plugin that cannot be loaded.
    """
    known = Judges(registry(), SCORINGS)
    try:
        points = read_plan(folder).plan.points
    except EvidenceError:
        points = ()  # which verifying will say
    audits = {str(point.options.get("test")) for point in points if point.kind == "audit"}
    scorers = {str(scorer.get("name")) for point in points for scorer in point.options.get("scorers", ())}
    if not plugins and audits <= known.audits.words().keys() and scorers <= known.scorings.keys():
        return known
    found = contributions(plugins)
    return Judges(registry(found.audits), all_scorings(found.scorings))
