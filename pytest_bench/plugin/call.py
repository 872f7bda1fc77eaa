"""One call of pytest, from before conftests are loaded until its exit status is decided.

Its files are red from the first moment. What happens is appended to an event log, and at the end `settle` decides. An
xdist worker has a log too; its controller decides.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
import traceback
from collections.abc import Generator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bench import clock
from pytest_bench.errors import UsageError
from pytest_bench.plugin import handover, options
from pytest_bench.suite.discovery import discover
from pytest_bench.verdict.events import Called, Ended, Fault, Invocation, Refused
from pytest_bench.verdict.verdict import exit_status
from pytest_bench.wording import printable

if TYPE_CHECKING:
    from pytest_bench.results.claim import Claim
    from pytest_bench.results.event_log import EventLog
    from pytest_bench.results.settle import Settled

_SUITE_SUFFIXES = frozenset({".yaml", ".yml"})
_DISTRIBUTIONS = ("pytest-inference-bench", "pytest", "pytest-xdist", "tokenizers", "fastokens")


class Call:
    """The call in this process. `log` is None while there is nothing to judge, and once it has been judged."""

    def __init__(self, config: pytest.Config) -> None:
        self.log: EventLog | None = None
        self.nonce = secrets.token_hex(8)
        self.results = Path()
        self.suites: list[Path] = []
        self.given: options.Given | None = None
        self.refused = False
        self.is_worker = is_xdist_worker()
        self._config = config
        self._here = config.invocation_params.dir
        self.claim: Claim | None = None
        self._shown: Settled | None = None
        self._is_watched = not self.is_worker
        """Whether the end of the call, if it comes early, leaves red files."""
        config.add_cleanup(self._ends_early)

    def begin(self, parser: pytest.Parser) -> None:
        """Find suites, claim the results folder and the JUnit file, and turn them red.

        Raises `pytest.UsageError`.
        """
        known = self._config.known_args_namespace
        if self.is_worker or handover.is_reading(self._config):
            self._is_watched = False
            return
        try:
            self.given = options.Given(self._config, parser)
            self.suites = find_suites(
                known, self._here, self._config.rootpath, self._config.getini("testpaths")
            )
            if options.shows_only(known) or options.collects_only(known):
                self._refuse_gates(known)
                self._is_watched = False
            elif self.suites:
                self._take(known)
            elif ours := self.given.for_this_call():
                raise UsageError(  # noqa: TRY301 # refused as the functions called here refuse
                    f"{', '.join(ours)}: given, but {' '.join(known.file_or_dir) or 'the folder'} holds no suite: name "
                    "a folder that holds a *.yaml with a top-level key `suite`, or leave the option out"
                )
            else:
                self._is_watched = False
        except UsageError as error:
            raise self._refuse_files(known, str(error)) from error

    def refuse(self, sentence: str) -> pytest.UsageError:
        """Record that the call is refused; returns what to raise."""
        if self.log is not None and not self.refused:
            self.log.append(Refused(sentence=sentence))
        self.refused = True
        return pytest.UsageError(sentence)

    def show(self, status: int) -> Settled:
        """The verdict that will be written if pytest ends with `status` and nothing else happens."""
        from pytest_bench.results.event_log import MAIN  # noqa: PLC0415 # heavy, and not needed beside others' tests
        from pytest_bench.results.publish import release_space  # noqa: PLC0415 # as above
        from pytest_bench.results.settle import settle  # noqa: PLC0415 # as above

        release_space(self.results)
        if self.log is not None:
            self.log.flush()
        self._shown = settle(self.results, pending={MAIN: Ended(status=status, at=clock.utc_now())})
        return self._shown

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_cmdline_main(self) -> Generator[None, int | None, int | None]:
        """Around everything: the exit status is never better than the verdict, nor the verdict than the status."""
        self._is_watched = False
        try:
            status = yield
        except BaseException as error:
            if self.log is None:
                raise
            self._record(error)
            if self.is_worker:  # without an end it counts as crashed
                raise
            if not isinstance(error, SystemExit):
                self._close(4 if isinstance(error, pytest.UsageError) else 1)
                raise
            print(f"pytest itself failed: {one_line(error)}", file=sys.stderr)
            return self._close(1)
        # None, which a wrapper that forgets to return leaves, is status 0 to pytest.
        return status if self.log is None else self._close(status or 0)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        if self.log is not None:
            said = " ".join(excinfo.exconly(tryshort=True).split())
            self.log.append(Fault(code="internal-error", sentence=f"pytest itself failed: {said[:300]}"))

    def _refuse_gates(self, known: argparse.Namespace) -> None:
        """A call that only shows something leaves no verdict; an earlier one must not be taken for its own."""
        if self.given is not None and (gates := self.given.gates()):
            raise UsageError(
                f"{', '.join(gates)}: this call only shows something and runs nothing, so it has no verdict; leave "
                "the option out, or leave out --collect-only, --help and their like (see PYTEST_ADDOPTS and addopts)"
            )
        if self.suites and (known.collectonly or known.setupplan) and options.junit_path(known, self._here):
            self._refuse_files(known, "this call only shows what would run")

    def _make_claim(self, known: argparse.Namespace) -> Claim:
        from pytest_bench.results.claim import Claim  # noqa: PLC0415 # as above

        self.results = options.results_path(known, self._here, clock.utc_now(), self.nonce)
        junit = options.junit_path(known, self._here)
        return Claim(self.results, junit, self.nonce, is_named=bool(known.results))

    def _take(self, known: argparse.Namespace) -> None:
        from pytest_bench.results.event_log import MAIN, EventLog  # noqa: PLC0415 # as above

        given = handover.receive()
        if given is None:
            self.claim = self._make_claim(known)
            called = called_now(self.results, self._invocation())
            self.log = self.claim.take(MAIN, called)
            return
        self.results, self.nonce = Path(given.results), given.nonce
        try:
            self.log = EventLog.create(self.results, MAIN, self.nonce)
        except OSError as error:
            raise UsageError(f"{self.results}: {error.strerror or error}") from error
        self.log.append(called_now(self.results, self._invocation(), given.junit))

    def _invocation(self) -> Invocation:
        return Invocation() if self.given is None else self.given.invocation

    def _refuse_files(self, known: argparse.Namespace, sentence: str) -> pytest.UsageError:
        """Turn files that the call names, and has not claimed, red; returns what to raise."""
        self._is_watched = False
        named = known.results or getattr(known, "xmlpath", None)
        told = ""
        if self.claim is not None or named:
            claim = self.claim or self._make_claim(known)
            told = claim.refuse(sentence, self._invocation())
            claim.close()
            self.claim = None
        return pytest.UsageError(f"{sentence}\n{told}" if told else sentence)

    def _record(self, error: BaseException) -> None:
        if isinstance(error, pytest.UsageError):
            self.refuse("\n".join(map(str, error.args)))
        elif self.log is not None:
            self.log.append(Fault(code="internal-error", sentence=f"pytest itself failed: {one_line(error)}"))

    def _close(self, status: int) -> int:
        """Append the last event and decide; returns the exit status."""
        from pytest_bench.results.publish import conclude  # noqa: PLC0415 # as above

        log, self.log = self.log, None
        if log is None:
            return status
        ended = Ended(status=status, at=clock.utc_now())
        if self.is_worker:
            log.append(ended)
            return status
        try:
            shown = self._shown
            verdict = conclude(self.results, log, ended, shown.evidence if shown else None).verdict
        finally:
            if self.claim is not None:
                self.claim.close()
        if shown is not None and shown.verdict.status != verdict.status:
            faults = "; ".join(fault.sentence for fault in verdict.faults)
            print(f"verdict: {verdict.status} in the end: {printable(faults)}", file=sys.stderr)
        return exit_status(verdict) or status % 256 or min(status, 1)  # a process keeps only the last byte

    def _words(self) -> list[str]:
        added = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
        return [*added, *map(str, self._config.invocation_params.args)]

    def _ends_early(self) -> None:
        """Leave red files if pytest ends before its main part began. What ended it is still being handled."""
        if not self._is_watched:
            return
        self._is_watched = False
        error = sys.exception()
        if isinstance(error, pytest.UsageError):
            sentence = "\n".join(map(str, error.args))
        else:
            why = one_line(error) if error is not None else "a plugin answered in its place"
            sentence = f"pytest ended before anything was planned: {why}"
        if self.log is not None:
            self.refuse(sentence)
            self._close(4)
        elif self.given is None:  # pytest could not read the command line
            self._refuse_files(options.named_files(self._words()), sentence)
        if isinstance(error, SystemExit):
            raise pytest.UsageError(f"a conftest.py or a plugin ended the call: {one_line(error)}") from error


def find_suites(
    known: argparse.Namespace, here: Path, rootpath: Path, testpaths: Sequence[str]
) -> list[Path]:
    """The files of suites that a call asks for. Raises `UsageError` for one that is named itself."""
    for arg in known.file_or_dir:
        path = here / arg.partition("::")[0]
        if path.suffix.lower() in _SUITE_SUFFIXES and path.is_file():
            folder = shlex.quote(os.path.relpath(path.parent, here))
            raise UsageError(f"{arg}: is a file of suites; give the folder: pytest {folder}")
    if known.pyargs and known.file_or_dir:
        return []
    return discover(known.file_or_dir, rootpath, testpaths, cwd=here)


def called_now(results: Path, invocation: Invocation, junit: str = "") -> Called:
    """The first event of a session."""
    return Called(
        invocation=invocation,
        started=clock.utc_now(),
        results=str(results),
        junit=junit,
        versions={name: version(name) for name in _DISTRIBUTIONS},
    )


def call_of(config: pytest.Config) -> Call:
    """The call that a config belongs to."""
    return config.stash[_CALL]


_CALL = pytest.StashKey[Call]()


def start(config: pytest.Config) -> None:
    """Begin to watch over a call."""
    config.stash[_CALL] = Call(config)


def is_xdist_worker() -> bool:
    """Whether xdist runs pytest in this process: what a worker starts inherits the worker's environment."""
    return "PYTEST_XDIST_WORKER" in os.environ and any(
        frame.f_globals.get("__name__") == "__channelexec__" for frame, _ in traceback.walk_stack(None)
    )


def one_line(error: BaseException) -> str:
    """An exception in one line."""
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])
