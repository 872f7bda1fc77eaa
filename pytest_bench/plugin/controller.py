"""The controller: gathers what every process reports, settles the ledger, and makes the session end as it says.

Pure decisions are the ledger's. Here are the edges: reports in, missing points made visible, files out.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_bench import clock
from pytest_bench.files import file_digest
from pytest_bench.plugin import junit
from pytest_bench.plugin.folder import ENVIRONMENT, VERDICT, release_space, versions
from pytest_bench.plugin.items import Items
from pytest_bench.plugin.markers import JUDGES
from pytest_bench.plugin.options import junit_path, simulator_asked_for
from pytest_bench.plugin.outermost import ITEMS, told
from pytest_bench.plugin.reports import REPORT_KEY, PointReport
from pytest_bench.plugin.session import Session
from pytest_bench.plugin.terminal import write_summary
from pytest_bench.suite import plan_file
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.events import (
    Event,
    EvidenceCheck,
    ExpectedPoint,
    Fault,
    Lease,
    Report,
    SessionFacts,
    Withheld,
    WorkerCrashed,
)
from pytest_bench.verdict.evidence import check_evidence
from pytest_bench.verdict.ledger import settle
from pytest_bench.verdict.outcome import Outcome, Reason
from pytest_bench.verdict.record import SessionRecord, write_record
from pytest_bench.verdict.verdict import PointVerdict, Verdict, exit_status, write_verdict

_MISSING = "missing::"


class Controller:
    """Registered once a session, where the exit status is decided."""

    def __init__(self, config: pytest.Config, session: Session) -> None:
        self._config = config
        self._session = session
        self._events: list[Event] = []
        self._leases: list[Lease] = []
        self._interrupted = False
        self._at_maxfail = False
        """xdist has ended at -x or --maxfail, as an interrupt: pytest itself would say that tests failed."""
        self._verdict: Verdict | None = None
        self._files = {name: file_digest(session.results / name) for name in (plan_file.NAME, ENVIRONMENT)}

    # Reports in

    def hear(self, events: list[dict[str, Any]]) -> None:
        """Take in what a worker process saw while it collected."""
        self._events += msgspec.convert(events, list[Event])

    def worker_crashed(self, worker: str, detail: str, point: str | None = None) -> None:
        self._events.append(WorkerCrashed(worker=worker, detail=detail, point=point))

    def worker_late(self, worker: str, seconds: float) -> None:
        """Nobody knows how a worker ends that had not ended this long after its tests."""
        sentence = (
            f"process {worker} had not ended {seconds:g} s after its last test: how it ends is not known"
        )
        self._events.append(Fault(code="worker-crashed", sentence=sentence))

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
        if said.raised is not None and outcome == "passed":
            sentence = (
                f"its {report.when} is reported as passed, and raised {said.raised}: another plugin hides it"
            )
            self._events.append(Fault(code="contradiction", sentence=sentence, point=said.point))
        if said.withheld is not None and report.failed:
            self._events.append(Withheld(point=said.point, sentence=said.withheld))
        if report.when == "teardown":
            self._leases += said.leases

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            why = report.longreprtext.strip().rpartition("\n")[2].removeprefix("E").strip()
            sentence = f"{report.nodeid or 'something'} could not be collected: {why[:300]}"
            self._events.append(Fault(code="collection-error", sentence=sentence))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Tell interrupts from other ways to end early, all of which pytest and xdist report here."""
        if isinstance(excinfo.value, pytest.Session.Interrupted):
            if not any(
                isinstance(event, Fault) and event.code == "collection-error" for event in self._events
            ):
                sentence = f"pytest stopped before its end: {excinfo.value}"
                self._events.append(Fault(code="stopped", sentence=sentence))
        elif str(excinfo.value).startswith("stopping after "):
            self._at_maxfail = True
        elif isinstance(excinfo.value, KeyboardInterrupt):  # pytest.exit() is none: its exit status is heard
            self._interrupted = True

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        said = " ".join(excinfo.exconly(tryshort=True).split())
        self._events.append(Fault(code="internal-error", sentence=f"pytest itself failed: {said[:300]}"))

    # The verdict out

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int | pytest.ExitCode
    ) -> Generator[None, None, None]:
        """Settle the ledger; add what is missing before JUnit is written, and rewrite JUnit after."""
        own = self._config.pluginmanager.get_plugin(ITEMS)
        if isinstance(own, Items):
            self._events += own.events
        record = self._record(1 if self._at_maxfail else int(exitstatus))
        self._verdict = verdict = self._written(record, self._settle(record))
        self._show_missing(verdict)
        session.exitstatus = exit_status(verdict) or int(exitstatus)
        path = junit_path(self._config)
        try:
            yield
            junit.rewrite(path, verdict, self._session)
        except OSError as error:
            unwritten = _unwritten(error, path)
            session.exitstatus = int(session.exitstatus) or 1
            self._verdict = verdict = self._rewritten(verdict, unwritten)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)  # what little of it is there may hold the space for this
                junit.write_red(path, [point.id for point in verdict.points], unwritten.sentence)
            print(unwritten.sentence, file=sys.stderr)
        except BaseException as error:
            self.turn_red("internal-error", f"pytest failed at the end of the session: {told(error)}")
            raise

    def close(self, status: int) -> int:
        """What to exit with where pytest would with `status`: the worse of that and the verdict's own.

        A verdict that is better than `status` becomes red.
        """
        own = 1 if self._verdict is None else exit_status(self._verdict)  # None: what was born red still is
        if status != 0 and own == 0:
            sentence = f"pytest itself ended with status {status}: something besides the points went wrong"
            self.turn_red("pytest-exit", sentence)
        return status % 256 or own or min(status, 1)  # a process keeps its last byte alone

    def turn_red(self, code: str, sentence: str) -> None:
        """A verdict that was good is so no longer, and the JUnit file follows it."""
        if self._verdict is None:  # files are as red as they were born
            return
        if self._verdict.status == "pass" or code == "internal-error":
            self._verdict = self._rewritten(self._verdict, Reason(code, sentence))
        path = junit_path(self._config)
        try:
            junit.rewrite(path, self._verdict, self._session)
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _written(self, record: SessionRecord, verdict: Verdict) -> Verdict:
        """Leave the ledger and the verdict; where that fails, a verdict that says so."""
        results = self._session.results
        try:
            release_space(results)
            digest = write_record(results, record)
            verdict = msgspec.structs.replace(verdict, ledger_digest=digest)
            write_verdict(results / VERDICT, verdict)
        except OSError as error:
            return self._rewritten(verdict, _unwritten(error, results))
        return verdict

    def _rewritten(self, verdict: Verdict, fault: Reason) -> Verdict:
        """The verdict with one more fault, on disk where that is possible: if not, a red one is there."""
        verdict = msgspec.structs.replace(verdict, status="error", faults=(*verdict.faults, fault))
        with contextlib.suppress(OSError):
            write_verdict(self._session.results / VERDICT, verdict)
        return verdict

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Count missing points as such. The table shows them, and below it stands why: no need to repeat it."""
        if not report.nodeid.startswith(_MISSING):
            return None
        return "missing" if report.failed else "", "", ""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._verdict is not None:
            write_summary(terminalreporter, self._session, self._verdict)

    def _record(self, status: int) -> SessionRecord:
        session = self._session
        return SessionRecord(
            expected=tuple(self._expected(point) for point in session.plan.points),
            events=tuple(self._events),
            leases=tuple(self._leases),
            facts=SessionFacts(
                nonce=session.nonce,
                pytest_exit_status=status,
                plan_digest=session.plan.digest(),
                complete=self._config.option.complete,
                expectation=session.expectation,
                simulator_asked_for=simulator_asked_for(self._config),
                interrupted=self._interrupted,
                versions=versions(),
                invocation=session.invocation,
                started=session.started,
                finished=clock.utc_now(),
                files=self._files,
            ),
        )

    def _settle(self, record: SessionRecord) -> Verdict:
        evidence = {
            point.id: check
            for point in self._session.plan.points
            if (check := self._check(point)) is not None
        }
        return settle(record.expected, record.events, evidence, record.leases, record.facts)

    def _expected(self, point: Point) -> ExpectedPoint:
        return ExpectedPoint(
            id=point.id,
            digest=self._session.plan.point_digest(point),
            leases=("endpoint", "host"),
            origin=point.origin,
        )

    def _check(self, point: Point) -> EvidenceCheck | None:
        folder = self._session.point_folder(point.id)
        path = folder.relative_to(self._session.results).as_posix()
        return check_evidence(folder, path=path, point=point.id) if folder.is_dir() else None

    def _show_missing(self, verdict: Verdict) -> None:
        """Give points that nothing reported a failing case, in terminal, counters and JUnit alike."""
        reported = {event.point for event in self._events if isinstance(event, (Report, WorkerCrashed))}
        self._config.option.maxfail = 0  # what never ran is no failure to stop after
        for point in verdict.points:
            if point.outcome is not Outcome.PASS and point.id not in reported:
                for when in ("setup", "teardown"):
                    self._config.hook.pytest_runtest_logreport(report=_missing_report(point, when))


def _missing_report(point: PointVerdict, when: str) -> pytest.TestReport:
    failed = when == "setup"
    text = "\n".join([f"{point.outcome}:", *(f"  {reason.sentence}" for reason in point.reasons)])
    return pytest.TestReport(
        nodeid=f"{_MISSING}{point.id}",
        location=("missing", None, point.id),
        keywords={},
        outcome="failed" if failed else "passed",
        longrepr=text if failed else None,
        when="setup" if failed else "teardown",
        user_properties=[(JUDGES, point.id)],
    )


def _unwritten(error: OSError, where: Path) -> Reason:
    return Reason("unwritten", f"{error.filename or where}: cannot be written: {error.strerror or error}")


def _first_line(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    crash = getattr(report.longrepr, "reprcrash", None)
    text = getattr(crash, "message", None) or report.longreprtext
    return text.strip().partition("\n")[0][:300]
