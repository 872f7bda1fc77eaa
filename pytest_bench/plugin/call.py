"""One call of pytest, from before conftests are loaded until its exit status is decided.

The verdict and the JUnit file are red from the start. Events are appended to a log, and at the end `settle` decides.
An xdist worker also has a log; its controller decides.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bench import clock
from pytest_bench.errors import UsageError
from pytest_bench.plugin import handover, options
from pytest_bench.suite.discovery import discover
from pytest_bench.verdict.events import Ended, Event, Fault, Invocation, Refused
from pytest_bench.verdict.verdict import exit_status
from pytest_bench.wording import one_line, printable

if TYPE_CHECKING:
    from pytest_bench.results.claim import Claim
    from pytest_bench.results.event_log import EventLog
    from pytest_bench.results.settle import Settled
    from pytest_bench.verdict.verdict import Verdict

_SUITE_SUFFIXES = frozenset({".yaml", ".yml"})


class Call:
    """The call of pytest in this process. `log` is None if there is nothing to judge, and after the verdict."""

    def __init__(self, config: pytest.Config) -> None:
        self.log: EventLog | None = None
        self.nonce = secrets.token_hex(8)
        self.results = Path()
        self.suites: list[Path] = []
        self.given: options.OptionSources | None = None
        self.rerun_command = ""
        self.refused = False
        self.is_worker = is_xdist_worker()
        self._config = config
        self._here = config.invocation_params.dir
        self.claim: Claim | None = None
        self._preview: Settled | None = None
        self._guards_early_end = not self.is_worker
        """Whether red files must be written if the call ends before its main part begins."""
        config.add_cleanup(self._handle_early_end)

    def begin(self, parser: pytest.Parser) -> None:
        """Find suites, claim the results folder and the JUnit file, and turn them red.

        Raises `pytest.UsageError`.
        """
        known = self._config.known_args_namespace
        if self.is_worker or handover.is_reading(self._config):
            self._guards_early_end = False
            return
        try:
            self.given = options.OptionSources(self._config, parser)
            self.suites = find_suites(
                known, self._here, self._config.rootpath, self._config.getini("testpaths")
            )
            if options.shows_only(known) or options.collects_only(known):
                self._refuse_gates(known)
            elif self.suites:
                self._take(known)
            elif ours := self.given.for_this_call():
                raise UsageError(  # noqa: TRY301 # refused as the functions called here refuse
                    f"{', '.join(ours)}: given, but {' '.join(known.file_or_dir) or 'the folder'} contains no suite: "
                    "name a folder with a *.yaml that has a top-level key `suite`, or remove the option"
                )
        except UsageError as error:
            raise pytest.UsageError(self._write_refusal(known, str(error))) from error
        self._guards_early_end = self.log is not None

    def append(self, event: Event) -> None:
        """Append an event to the log, if there is one."""
        if self.log is not None:
            self.log.append(event)

    @property
    def process(self) -> str:
        """The name of this process in events."""
        return "main" if self.log is None else self.log.process

    def refuse(self, sentence: str) -> pytest.UsageError:
        """Record that the call is refused, and return the error to raise."""
        if not self.refused:
            self.append(Refused(sentence=sentence))
        self.refused = True
        return pytest.UsageError(sentence)

    def preview_verdict(self, status: int) -> Settled:
        """Return the verdict that will be written if pytest exits with `status` and no further event occurs.

        Releases the space reserved for the verdict, so that the rest of the log can be written to a full disk.
        """
        from pytest_bench.results.event_log import MAIN, RUN  # noqa: PLC0415 # heavy, and not needed without a suite
        from pytest_bench.results.publish import release_space  # noqa: PLC0415 # as above
        from pytest_bench.results.settle import settle  # noqa: PLC0415 # as above

        release_space(self.results)
        if self.log is not None:
            self.log.flush()
        ended = Ended(status=status, at=clock.utc_now())
        pending = {MAIN: ended} if self.claim is not None else {MAIN: ended, RUN: ended}
        self._preview = settle(self.results, pending=pending)
        return self._preview

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self) -> Generator[None, int | None, int | None]:
        """Wrap the whole run: the exit status is never better than the verdict, nor the verdict than the status."""
        self._guards_early_end = False
        try:
            status = yield
        except BaseException as error:
            if self.log is None:
                raise
            self._record(error)
            if self.is_worker:  # without an `Ended` event it counts as crashed
                raise
            if not isinstance(error, SystemExit):
                self._close(4 if isinstance(error, pytest.UsageError) else 1)
                raise
            print(f"pytest itself failed: {error_line(error)}", file=sys.stderr)
            return self._close(1)
        # A wrapper that forgets to return yields None, which pytest treats as status 0.
        return status if self.log is None else self._close(status or 0)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        text = " ".join(excinfo.exconly(tryshort=True).split())
        self.append(Fault(code="internal-error", sentence=f"pytest itself failed: {text[:300]}"))

    def _refuse_gates(self, known: argparse.Namespace) -> None:
        """Refuse options that require a verdict if no test runs: an old verdict could be mistaken for it."""
        if self.given is not None and (gates := self.given.gates()):
            raise UsageError(
                f"{', '.join(gates)}: this call runs no tests, so it has no verdict; remove the option, or remove "
                "--collect-only, --help or the like (check PYTEST_ADDOPTS and addopts too)"
            )
        if self.suites and (known.collectonly or known.setupplan) and options.junit_path(known, self._here):
            self._write_refusal(known, "this call shows what would run, and runs nothing")

    def _take(self, known: argparse.Namespace) -> None:
        from pytest_bench.plugin.claiming import called_now, claim_of  # noqa: PLC0415 # as above
        from pytest_bench.results.event_log import MAIN, EventLog  # noqa: PLC0415 # as above

        handed = handover.receive()
        if handed is None:
            self.claim = claim_of(known, self._here, self.nonce)
            self.results = self.claim.results
            self.log = self.claim.take(MAIN, called_now(self.results, self._invocation()))
            return
        self.results, self.nonce = Path(handed.results), handed.nonce
        self.rerun_command = handed.rerun
        try:
            self.log = EventLog.create(self.results, MAIN, self.nonce)
        except OSError as error:
            raise UsageError(f"{self.results}: {error.strerror or error}") from error
        self.log.append(called_now(self.results, self._invocation(), handed.junit))

    def _invocation(self) -> Invocation:
        return Invocation() if self.given is None else self.given.invocation

    def _write_refusal(self, known: argparse.Namespace, sentence: str) -> str:
        """Write red files under the names that the call gives. Returns the text of the error, as `Claim.refuse`."""
        from pytest_bench.plugin.claiming import refuse_named  # noqa: PLC0415 # as above

        self._guards_early_end = False
        claim, self.claim = self.claim, None
        if claim is not None:
            return claim.refuse(sentence, self._invocation())
        return refuse_named(known, self._here, self.nonce, sentence, self._invocation())

    def _record(self, error: BaseException) -> None:
        if isinstance(error, pytest.UsageError):
            self.refuse("\n".join(map(str, error.args)))
        else:
            self.append(Fault(code="internal-error", sentence=f"pytest itself failed: {error_line(error)}"))

    def _close(self, status: int) -> int:
        """Append the last event, and return the exit status: in an xdist worker `status`, otherwise the verdict's."""
        log, self.log = self.log, None
        if log is None:
            return status
        if self.is_worker:
            log.append(Ended(status=status, at=clock.utc_now()))
            return status
        verdict = self._conclude(log, status)
        shown = self._preview
        if shown is not None and shown.verdict.status != verdict.status:
            faults = "; ".join(fault.sentence for fault in verdict.faults)
            print(f"verdict: {verdict.status}: {printable(faults)}", file=sys.stderr)
        return exit_status(verdict)

    def _conclude(self, log: EventLog, status: int) -> Verdict:
        """Append the last event, and return the verdict. Under `pytest-bench run`, the parent process writes it."""
        from pytest_bench.plugin.claiming import conclude  # noqa: PLC0415 # as above
        from pytest_bench.results.event_log import RUN  # noqa: PLC0415 # as above
        from pytest_bench.results.settle import settle  # noqa: PLC0415 # as above

        if self.claim is not None:
            return conclude(self.claim, log, status, self._preview)
        ended = Ended(status=status, at=clock.utc_now())
        log.append(ended)
        evidence = self._preview.evidence if self._preview else None
        return settle(self.results, pending={RUN: ended}, evidence=evidence).verdict

    def _arguments(self) -> list[str]:
        added = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
        return [*added, *map(str, self._config.invocation_params.args)]

    def _handle_early_end(self) -> None:
        """Write red files if pytest ends before its main part begins, while its exception is being handled."""
        if not self._guards_early_end:
            return
        self._guards_early_end = False
        error = sys.exception()
        if isinstance(error, pytest.UsageError):
            sentence = "\n".join(map(str, error.args))
        else:
            why = error_line(error) if error is not None else "another plugin handled the command line"
            sentence = f"pytest ended before anything was planned: {why}"
        if self.log is not None:
            self.refuse(sentence)
            self._close(4)
        elif self.given is None:  # pytest could not read the command line
            self._write_refusal(options.named_files(self._arguments()), sentence)
        if isinstance(error, SystemExit):
            raise pytest.UsageError(
                f"a conftest.py or a plugin ended the call: {error_line(error)}"
            ) from error


def find_suites(
    known: argparse.Namespace, here: Path, rootpath: Path, testpaths: Sequence[str]
) -> list[Path]:
    """Return the suite files in the folders that a call names. Raises `UsageError` if an argument is a suite file."""
    for arg in known.file_or_dir:
        path = here / arg.partition("::")[0]
        if path.suffix.lower() in _SUITE_SUFFIXES and path.is_file():
            folder = shlex.quote(os.path.relpath(path.parent, here))
            raise UsageError(f"{arg}: is a suite file; name its folder: pytest {folder}")
    if known.pyargs and known.file_or_dir:
        return []
    return discover(known.file_or_dir, rootpath, testpaths, cwd=here)


def call_of(config: pytest.Config) -> Call:
    """Return the call that `config` belongs to."""
    return config.stash[_CALL]


_CALL = pytest.StashKey[Call]()


def start(config: pytest.Config) -> None:
    """Attach a new call to `config`."""
    config.stash[_CALL] = Call(config)


def is_xdist_worker() -> bool:
    """Whether this process is an xdist worker. Child processes inherit its environment, so that alone is no proof."""
    return "PYTEST_XDIST_WORKER" in os.environ and any(
        frame.f_globals.get("__name__") == "__channelexec__" for frame, _ in traceback.walk_stack(None)
    )


def error_line(error: BaseException) -> str:
    """Format an exception as one line."""
    return one_line(f"{type(error).__name__}: {error}", 300)
