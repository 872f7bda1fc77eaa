"""Hooks of the controller process only: collection errors, interrupts, and the end of the session."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_bench.catalogue import Requirements
from pytest_bench.errors import BenchError
from pytest_bench.plugin.call import Call
from pytest_bench.plugin.items import SHADOWED
from pytest_bench.plugin.session import Session
from pytest_bench.plugin.terminal import count_missing, write_summary
from pytest_bench.results.event_log import read_log
from pytest_bench.verdict.events import Fault, Interrupted, Selected


class Controller:
    """Registered once per session, in the process that decides the exit status."""

    def __init__(self, config: pytest.Config, call: Call, session: Session, requires: Requirements) -> None:
        self._config = config
        self._call = call
        self._session = session
        self._requires = requires
        self._failed_to_collect = False
        self._at_maxfail = False

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._failed_to_collect = True
            why = report.longreprtext.strip().rpartition("\n")[2].removeprefix("E").strip()
            sentence = f"{report.nodeid or 'a collector'} could not be collected: {why[:300]}"
            self._call.append(Fault(code="collection-error", sentence=sentence))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Without xdist: check that the selected points can run before the first of them runs."""
        if self._call.log is not None:
            check_collection(self._call, self._requires, self._call.process)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Distinguish interrupts from other early ends, all of which pytest and xdist report here."""
        if isinstance(excinfo.value, pytest.Session.Interrupted):
            if not self._failed_to_collect:
                sentence = f"pytest stopped early: {excinfo.value}"
                self._call.append(Fault(code="stopped", sentence=sentence))
        elif str(excinfo.value).startswith("stopping after "):
            self._at_maxfail = True
        elif isinstance(
            excinfo.value, KeyboardInterrupt
        ):  # pytest.exit() is not an interrupt: its exit status counts
            self._call.append(Interrupted())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Report failed tests after -x or --maxfail, as pytest does; xdist reports an interrupt."""
        if self._at_maxfail:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        if self._call.log is not None and not self._call.refused:
            settled = self._call.preview_verdict(int(exitstatus))
            count_missing(terminalreporter, settled)
            write_summary(terminalreporter, self._session, settled)


def check_collection(call: Call, requires: Requirements, process: str) -> None:
    """Refuse the call if what `process` collected cannot run. Raises `pytest.UsageError`."""
    try:
        events = list(read_log(call.results, process, call.nonce))
        shadows = [event.sentence for event in events if isinstance(event, Fault) and event.code == SHADOWED]
        if shadows:
            raise call.refuse("\n".join(dict.fromkeys(shadows)))
        requires.check({event.point for event in events if isinstance(event, Selected)})
    except BenchError as error:
        raise call.refuse(str(error)) from error
