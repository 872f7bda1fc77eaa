"""What a point's item tells the controller, across processes, on its test reports."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from pytest_bench.errors import BenchError, NotMet
from pytest_bench.plugin import items
from pytest_bench.verdict.events import Lease
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason

REPORT_KEY = "inference_bench"
"""Attribute of a test report that carries a `PointReport` as JSON primitives: all that crosses xdist."""

_REPORT = pytest.StashKey["PointReport"]()


class PointReport(msgspec.Struct, kw_only=True):
    point: str
    judgement: Judgement | None = None
    leases: list[Lease] = []


def note(item: pytest.Item, point: str, judgement: Judgement, leases: list[Lease]) -> None:
    """Remember what running the point of `item` came to, for its report."""
    item.stash[_REPORT] = PointReport(point=point, judgement=judgement, leases=leases)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach what the point came to; an error of ours is told in its own words, without a traceback."""
    report = yield
    point = items.point_of(item)
    if point is None:
        return report
    raised = call.excinfo.value if call.excinfo is not None else None
    error = raised if isinstance(raised, BenchError) else None
    if error is not None and report.failed:
        report.longrepr = str(error)
    if items.judges(item):
        said = item.stash.get(_REPORT, None) or PointReport(point=point.id)
        if error is not None and not isinstance(error, NotMet) and said.judgement is None:
            said.judgement = Judgement(outcome=Outcome.ERROR, reasons=(Reason(error.code, str(error)),))
        setattr(report, REPORT_KEY, msgspec.to_builtins(said))
    return report
