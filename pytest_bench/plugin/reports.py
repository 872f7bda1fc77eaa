"""What a point's item tells the controller, across processes, on its test reports."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from pytest_bench.errors import BenchError, NotMet
from pytest_bench.plugin import items, withholding
from pytest_bench.plugin.outermost import told
from pytest_bench.plugin.session import Session
from pytest_bench.verdict.events import Lease
from pytest_bench.verdict.judge import Violations
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason
from pytest_bench.wording import printable

REPORT_KEY = "inference_bench"
"""Attribute of a test report that carries a `PointReport` as JSON primitives: all that crosses xdist."""

_REPORT = pytest.StashKey["PointReport"]()
_RUNNING = pytest.StashKey[pytest.Item]()
_RAISED = pytest.StashKey[str]()
"""What an item's function raised, at whichever attempt."""


class PointReport(msgspec.Struct, kw_only=True):
    point: str
    judgement: Judgement | None = None
    leases: list[Lease] = []
    """All that were held for the point so far."""
    withheld: str | None = None
    """Why the point was not run on purpose."""
    raised: str | None = None
    """What this stage really raised, whatever its report says by now."""


def note_judgement(item: pytest.Item, judgement: Judgement) -> None:
    """Remember what running the point of `item` came to, for its report."""
    item.stash[_REPORT].judgement = judgement


def note_leases(item: pytest.Item, leases: list[Lease]) -> None:
    """Remember what was held for the point of `item`."""
    item.stash[_REPORT].leases += leases


def running(config: pytest.Config) -> tuple[pytest.Item, str]:
    """The item that this process is setting up, and its point: what a session's fixture is made for first."""
    item = config.stash[_RUNNING]
    return item, item.stash[_REPORT].point


class Reports:
    """Joins in where items are set up, run and reported."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let a point run, unless an audit on its deployment could not be carried out."""
        point = items.point_of(item)
        if point is None:
            return
        item.config.stash[_RUNNING] = item
        item.stash[_REPORT] = PointReport(point=point.id)
        folder = self._session.deployment_folder(point.suite)
        withholding.require_not_withheld(folder)
        if point.kind == "audit" and items.judges(item):
            withholding.audit_begins(folder, point, self._session.nonce)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Note what a point's function raises, inside all that could swallow it."""
        try:
            return (yield)
        except BaseException as error:
            pyfuncitem.stash[_RAISED] = told(error)
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach what the point came to; an error of ours is told in its own words, without a traceback."""
        report = yield
        point = items.point_of(item)
        if point is None:
            return report
        raised = call.excinfo.value if call.excinfo is not None else None
        error = raised if isinstance(raised, BenchError) else None
        if error is not None and report.failed:
            report.longrepr = printable(str(error), keep="\n")
        if items.judges(item):
            said = item.stash.setdefault(_REPORT, PointReport(point=point.id))
            if isinstance(error, withholding.PointWithheld):
                said.withheld = str(error)
            elif error is not None and not isinstance(error, NotMet) and said.judgement is None:
                said.judgement = Judgement(outcome=Outcome.ERROR, reasons=(Reason(error.code, str(error)),))
            said.raised = told(raised) if raised is not None else None
            if report.when == "call":
                said.raised = item.stash.get(_RAISED, said.raised)
            if report.when == "teardown" and point.kind == "audit" and said.withheld is None:
                folder = self._session.deployment_folder(point.suite)
                withholding.audit_ends(folder, point, self._session.nonce, _problem(said.judgement))
            setattr(report, REPORT_KEY, msgspec.to_builtins(said))
        return report

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """Show what a requirement measured instead of two tuples."""
        if isinstance(left, Violations) and op == "==" and right == ():
            return ["requirements not met", *left.lines()]
        return None


def _problem(judgement: Judgement | None) -> str | None:
    """Why an audit says nothing of its deployment; None where it ended `pass` or `fail`."""
    if judgement is None:
        return "it ended without a judgement"
    if judgement.outcome in {Outcome.PASS, Outcome.FAIL}:
        return None
    return judgement.reasons[0].sentence if judgement.reasons else f"it ended {judgement.outcome}"
