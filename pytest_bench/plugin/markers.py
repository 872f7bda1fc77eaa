"""The marker `points`, which assigns points to a test function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, get_args

import pytest

from pytest_bench.suite.plan import Kind

JUDGES = "judges"
"""User property in the reports of an item that judges a point."""

READS = "reads"
"""User property in the reports of an item that only reads a point's measurement."""

PUBLIC_FIXTURES = frozenset(
    {"point", "deployment", "endpoint", "container", "tokenizer_pool", "run_load", "measurement"}
)
"""Public fixtures. A fixture of the same name that overrides one of these for a point's test is a fault."""


@dataclass(frozen=True)
class PointsMark:
    """`@pytest.mark.points("perf")`: run once for every point of this kind in the folder's suites."""

    kind: Kind
    judge: bool
    """Whether the function decides the point's outcome. Exactly one function per point does."""


def declare(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "points(kind, judge=True): run once for every point of this kind (perf, audit, eval) in the folder's "
        "suites. Exactly one function judges a point; others take judge=False and read its measurement.",
    )


def read(marks: list[pytest.Mark], where: str) -> PointsMark | None:
    """Return the first points mark in `marks`, or None. Raises `pytest.UsageError` if it is malformed."""
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
            f"{where}: expected points(kind) or points(kind, judge=False), where kind is one of "
            f"{', '.join(kinds)}; found points{mark.args!r} {mark.kwargs or ''}".rstrip()
        )
    return PointsMark(kind=mark.args[0], judge=judge)


class WithoutSuite:
    """Registered if the call finds no suite: a function marked points(...) is then a collection error."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        marks = list(metafunc.definition.iter_markers("points"))
        if read(marks, metafunc.definition.nodeid) is not None:
            refuse_without_suite(metafunc.definition)


def refuse_without_suite(function: pytest.Item | pytest.Collector, name: str = "") -> NoReturn:
    """Raise a collection error for a function marked points(...) in a folder without a suite."""
    where = f"{function.nodeid}::{name}" if name else function.nodeid
    raise pytest.Collector.CollectError(
        f"{where}: is marked points(...), but {function.path.parent} contains no suite (a *.yaml with a top-level "
        "key `suite`); create one with `pytest-bench init`, or remove the marker"
    )
