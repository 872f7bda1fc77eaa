"""Appends the reports of points to the event log, in the process that runs them; removes secrets from all reports."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from pytest_bench.errors import BenchError, NotMet
from pytest_bench.plugin import items
from pytest_bench.plugin.call import Call, error_line
from pytest_bench.plugin.session import Session
from pytest_bench.redaction import redact
from pytest_bench.results import withheld
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.events import Fault, Report, Withheld
from pytest_bench.verdict.judge import Violations
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason
from pytest_bench.wording import printable

_LONGEST_REPEATED = 80
"""Characters of a complaint that is repeated."""

_STATE = pytest.StashKey["_State"]()
_RUNNING = pytest.StashKey[pytest.Item]()


class _State(msgspec.Struct, kw_only=True):
    """What is known about an item's point so far."""

    judgement: Judgement | None = None
    withheld: str | None = None
    raised: str | None = None
    """The exception that the item's function raised."""


def note_judgement(item: pytest.Item, judgement: Judgement) -> None:
    """Store the judgement of the point of `item` for its report."""
    item.stash[_STATE].judgement = judgement


def running(config: pytest.Config) -> str:
    """Return the id of the point whose item this process is setting up."""
    point = items.point_of(config.stash[_RUNNING])
    return "" if point is None else point.id


class Reports:
    """Hooks for the set-up, call and reports of items."""

    def __init__(self, call: Call, session: Session) -> None:
        self._call = call
        self._session = session
        self._made: tuple[pytest.Item, pytest.TestReport, str | None] | None = None
        """The latest report's item, the report, and the exception that its stage raised."""
        self._first_with: dict[str, str] = {}
        """The first point with each complaint that this process reported."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Let a point run unless an audit on its deployment could not be completed."""
        point = items.point_of(item)
        if point is None:
            return
        item.config.stash[_RUNNING] = item
        item.stash[_STATE] = _State()
        folder = self._session.deployment_folder(point.deployment_name)
        withheld.require_not_withheld(folder)
        if point.kind == "audit" and items.judges(item):
            withheld.audit_begins(folder, point.id, self._session.nonce)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        """Record what a point's function raises before another hook can swallow it."""
        try:
            return (yield)
        except BaseException as error:
            if (state := pyfuncitem.stash.get(_STATE, None)) is not None:
                state.raised = error_line(error)
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Record the result of a point's stage, and remove secrets from the report of every test."""
        report = yield
        point = items.point_of(item)
        if point is not None:
            self._note_stage(item, point, call, report)
        _redact(report)  # tracebacks, captured output and logs
        return report

    def _note_stage(
        self, item: pytest.Item, point: Point, call: pytest.CallInfo[Any], report: pytest.TestReport
    ) -> None:
        """Record the result of the stage; show a `BenchError` as its message, without a traceback."""
        raised = call.excinfo.value if call.excinfo is not None else None
        error = raised if isinstance(raised, BenchError) else None
        if error is not None and report.failed:
            report.longrepr = self._folded(printable(str(error), keep="\n"), point.id)
        if items.judges(item):
            state = item.stash.setdefault(_STATE, _State())
            if isinstance(error, withheld.PointWithheld):
                state.withheld = str(error)
            elif error is not None and not isinstance(error, NotMet) and state.judgement is None:
                state.judgement = Judgement(outcome=Outcome.ERROR, reasons=(Reason(error.code, str(error)),))
            exception = None if raised is None else error_line(raised)
            if report.when == "call":
                exception = state.raised or exception
            if report.when == "teardown" and point.kind == "audit" and state.withheld is None:
                folder = self._session.deployment_folder(point.deployment_name)
                withheld.audit_ends(folder, point.id, self._session.nonce, _problem(state.judgement))
            self._made = (item, report, exception)

    def _folded(self, text: str, point: str) -> str:
        """`text`, or its beginning and where to find it if it was reported for another point."""
        first = self._first_with.setdefault(text, point)
        if first == point:
            return text
        line = text.partition("\n")[0]
        shown = line if len(line) <= _LONGEST_REPEATED else f"{line[:_LONGEST_REPEATED]}..."
        return f"{shown}\nthe same as for {first}, above"

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Append the report that this process just made, including changes by other plugins."""
        if self._made is None or self._made[1] is not report:
            return
        item, _, raised = self._made
        self._made = None
        point, state = items.point_of(item), item.stash[_STATE]
        if point is None or report.when is None:
            return
        outcome = report.outcome if report.outcome in {"passed", "failed", "skipped"} else "failed"
        append = self._call.append
        append(
            Report(
                point=point.id,
                stage=report.when,
                outcome=outcome,
                worker=self._call.process,
                attempt=getattr(report, "rerun", 0) + 1,
                # A strict mark that passes leaves no `wasxfail`, and `pytest.xfail()` needs no mark.
                xfail=hasattr(report, "wasxfail") or item.get_closest_marker("xfail") is not None,
                judgement=state.judgement if report.when == "call" or report.failed else None,
                detail=_first_line(report),
                duration_s=report.duration,
            )
        )
        if raised is not None and outcome == "passed":
            sentence = (
                f"its {report.when} is reported as passed, but raised {raised}: another plugin hides this"
            )
            append(Fault(code="contradiction", sentence=sentence, point=point.id))
        if state.withheld is not None and report.failed:
            append(Withheld(point=point.id, sentence=state.withheld))

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """Show the violated requirements instead of two tuples."""
        if isinstance(left, Violations) and op == "==" and right == ():
            return ["requirements not met", *left.lines()]
        return None


def _redact(report: pytest.TestReport) -> None:
    report.sections = [(name, redact(text)) for name, text in report.sections]
    shown = report.longreprtext
    if (cleared := redact(shown)) != shown:
        report.longrepr = cleared


def _first_line(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or report.longreprtext
    return text.strip().partition("\n")[0][:300]


def _problem(judgement: Judgement | None) -> str | None:
    """Why an audit has no result for its deployment; None if it ended `pass` or `fail`."""
    if judgement is None:
        return "it ended without a judgement"
    if judgement.outcome in {Outcome.PASS, Outcome.FAIL}:
        return None
    return judgement.reasons[0].sentence if judgement.reasons else f"it ended {judgement.outcome}"
