"""The controller: gathers what every process reports, settles the ledger, and makes the session end as it says.

Pure decisions are the ledger's. Here are the edges: reports in, missing points made visible, files out.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from pytest_bench import clock
from pytest_bench.plugin import junit
from pytest_bench.plugin.items import Items
from pytest_bench.plugin.options import simulator_asked_for
from pytest_bench.plugin.reports import REPORT_KEY, PointReport
from pytest_bench.plugin.session import VERDICT, Session, versions
from pytest_bench.plugin.terminal import TerminalSummary
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.events import (
    Event,
    EvidenceCheck,
    ExpectedPoint,
    Fault,
    Lease,
    Report,
    SessionFacts,
    WorkerCrashed,
)
from pytest_bench.verdict.evidence import check_evidence
from pytest_bench.verdict.ledger import settle
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import PointVerdict, Verdict, exit_status, write_verdict


class Controller:
    """Registered once a session, where the exit status is decided."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self._config = config
        self._session = session
        self._events: list[Event] = []
        self._leases: list[Lease] = []
        self._interrupted = False
        self._verdict: Verdict | None = None

    # Reports in

    def hear(self, events: list[dict[str, Any]]) -> None:
        """Take in what a worker process saw while it collected."""
        self._events += msgspec.convert(events, list[Event])

    def worker_crashed(self, worker: str, detail: str) -> None:
        self._events.append(WorkerCrashed(worker=worker, detail=detail))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        raw = getattr(report, REPORT_KEY, None)
        if raw is None or report.when is None:
            return
        said = msgspec.convert(raw, PointReport)
        outcome = report.outcome if report.outcome in {"passed", "failed", "skipped"} else "failed"
        self._events.append(
            Report(
                point=said.point,
                stage=report.when,
                outcome=outcome,
                worker=getattr(report, "worker_id", "main"),
                attempt=getattr(report, "rerun", 0) + 1,
                xfail=hasattr(report, "wasxfail"),
                judgement=said.judgement if report.when == "call" or report.failed else None,
                detail=_first_line(report),
            )
        )
        if report.when == "call":
            self._leases += said.leases

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        # pytest.exit() comes here too; it is no interrupt, and its own exit status is heard.
        self._interrupted = self._interrupted or excinfo.errisinstance(KeyboardInterrupt)

    def pytest_internalerror(self, excrepr: object) -> None:
        self._events.append(
            Fault(code="internal-error", sentence=f"pytest itself failed: {str(excrepr)[-500:]}")
        )

    # The verdict out

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int | pytest.ExitCode
    ) -> Generator[None, None, None]:
        """Settle the ledger; add what is missing before JUnit is written, and rewrite JUnit after."""
        own = self._config.pluginmanager.get_plugin("inference-bench-items")
        if isinstance(own, Items):
            self._events += own.events
        verdict = self._settle(int(exitstatus))
        self._verdict = verdict
        self._show_missing(verdict)
        status = exit_status(verdict)
        session.exitstatus = status or int(exitstatus)
        path = self._session.results / VERDICT
        try:
            write_verdict(path, verdict)
        except OSError:
            session.exitstatus = session.exitstatus or 1
            raise
        finally:
            yield
        junit.rewrite(junit.path_of(self._config), verdict, self._session)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._verdict is not None:
            TerminalSummary(self._config, self._session, self._verdict).write(terminalreporter)

    def _settle(self, status: int) -> Verdict:
        session = self._session
        return settle(
            [self._expected(point) for point in session.plan.points],
            self._events,
            {point.id: check for point in session.plan.points if (check := self._check(point))},
            self._leases,
            SessionFacts(
                nonce=session.nonce,
                pytest_exit_status=status,
                plan_digest=session.plan.digest(),
                complete=self._config.option.complete,
                simulator_asked_for=simulator_asked_for(self._config),
                interrupted=self._interrupted,
                versions=versions(),
                invocation=session.invocation,
                started=session.started,
                finished=clock.utc_now(),
            ),
        )

    def _expected(self, point: Point) -> ExpectedPoint:
        return ExpectedPoint(
            id=point.id,
            digest=self._session.plan.point_digest(point),
            leases=("endpoint", "host"),
            origin=point.origin,
        )

    def _check(self, point: Point) -> EvidenceCheck | None:
        path = f"points/{point.id}"
        folder = self._session.results / path
        return check_evidence(folder, path=path, point=point.id) if folder.is_dir() else None

    def _show_missing(self, verdict: Verdict) -> None:
        """Give points that nothing reported a failing case, in terminal, counters and JUnit alike."""
        reported = {event.point for event in self._events if isinstance(event, Report)}
        for point in verdict.points:
            if point.outcome is not Outcome.PASS and point.id not in reported:
                for when in ("setup", "teardown"):
                    self._config.hook.pytest_runtest_logreport(report=_missing_report(point, when))


def _missing_report(point: PointVerdict, when: str) -> pytest.TestReport:
    failed = when == "setup"
    text = "\n".join([f"{point.id}: {point.outcome}", *(f"  {reason.sentence}" for reason in point.reasons)])
    return pytest.TestReport(
        nodeid=f"missing::{point.id}",
        location=("missing", None, point.id),
        keywords={},
        outcome="failed" if failed else "passed",
        longrepr=text if failed else None,
        when="setup" if failed else "teardown",
        user_properties=[(junit.JUDGES, point.id)],
    )


def _first_line(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or report.longreprtext
    return text.strip().partition("\n")[0][:300]
