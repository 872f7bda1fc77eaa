"""The marker that ties a test function to points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest

from pytest_bench.suite.plan import Kind

JUDGES = "judges"
"""Property by which the report of the item that judges a point is recognised."""

READS = "reads"
"""The same for an item that only reads a point's measurement."""


@dataclass(frozen=True)
class PointsMark:
    """`@pytest.mark.points("perf")`: run once for every point of this kind in the folder's suites."""

    kind: Kind
    judge: bool
    """Whether the function decides the point's outcome; exactly one function a point does."""


def declare(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "points(kind, judge=True): run once for every point of this kind (perf, audit, eval) in the folder's "
        "suites. Exactly one function judges a point; others take judge=False and read its measurement.",
    )


def read(marks: list[pytest.Mark], where: str) -> PointsMark | None:
    """The points mark among `marks`, closest first. Raises `pytest.UsageError` for one that is misused."""
    for mark in marks:
        if mark.name == "points":
            return _checked(mark, where)
    return None


def _checked(mark: pytest.Mark, where: str) -> PointsMark:
    kinds = get_args(Kind)
    unknown = set(mark.kwargs) - {"judge"}
    judge = mark.kwargs.get("judge", True)
    if len(mark.args) != 1 or mark.args[0] not in kinds or unknown or not isinstance(judge, bool):
        raise pytest.UsageError(
            f"{where}: the marker is written points(kind) or points(kind, judge=False) with kind one of "
            f"{', '.join(kinds)}; found points{mark.args!r} {mark.kwargs or ''}".rstrip()
        )
    return PointsMark(kind=mark.args[0], judge=judge)
