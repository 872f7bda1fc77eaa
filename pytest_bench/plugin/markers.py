"""The marker that ties a test function to points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, get_args

import pytest

from pytest_bench.suite.plan import Kind

JUDGES = "judges"
"""Property by which the reports of the item that judges a point are recognised."""

READS = "reads"
"""The same for an item that only reads a point's measurement."""

PUBLIC_FIXTURES = frozenset({"point", "deployment", "endpoint", "tokenizer_pool", "run_load", "measurement"})
"""Fixtures that test functions may ask for; nobody else may define one of these names for a point's test."""


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


class WithoutSuite:
    """For a call that finds no suite: a test function for points there is an error."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        marks = list(metafunc.definition.iter_markers("points"))
        if read(marks, metafunc.definition.nodeid) is not None:
            refuse_orphan(metafunc.definition)


def refuse_orphan(function: pytest.Item | pytest.Collector, name: str = "") -> NoReturn:
    """Make collecting a function for points beside no suite an error, in whatever process collects it."""
    where = f"{function.nodeid}::{name}" if name else function.nodeid
    raise pytest.Collector.CollectError(
        f"{where}: is marked points(...), and {function.path.parent} holds no suite: a *.yaml with a top-level "
        "key `suite`; write one, as `pytest-bench init` does, or remove the marker"
    )
