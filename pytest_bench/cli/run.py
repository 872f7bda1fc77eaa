"""`pytest-bench run`: run pytest in a child process, and judge it from the parent.

Nothing that a test, a conftest.py or a hook does in pytest's process can make the result green, and neither can a
disabled plugin. The parent plans (unless the suites need a conftest's APIs, audits or scorers), writes a red verdict,
waits for the child, and settles the results folder.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pytest_bench.cli.planning import words as vocabulary_of
from pytest_bench.cli.process import end_descendants, start, wait
from pytest_bench.errors import SuiteError, UsageError
from pytest_bench.plugin import handover, options
from pytest_bench.plugin.call import find_suites
from pytest_bench.plugin.claiming import called_now, claim_of, conclude, refuse_named
from pytest_bench.plugin.opening import overrides, record_plan
from pytest_bench.plugin.selection import Selection
from pytest_bench.plugin.session import Session
from pytest_bench.results.claim import Claim
from pytest_bench.results.event_log import RUN, EventLog
from pytest_bench.suite.loading import load_plan
from pytest_bench.verdict.events import Invocation, Refused
from pytest_bench.verdict.verdict import NOT_ENDED, exit_status
from pytest_bench.wording import printable

SUMMARY = "run suites with pytest, and exit by the verdict, which no test or plugin can change"
EXAMPLE = "pytest-bench run suites/ --endpoint=http://host:8000 --complete --results results/ci"

_EXITS = {0: 0, 1: 1, 2: 130, 4: 2}
"""Exit status of a command for that of a session."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pytest", nargs="*", metavar="ARGUMENT", help="everything that pytest takes; may begin after `--`"
    )


def run_words(arguments: Sequence[str], *, rerun: str = "") -> int:
    """Run pytest with `arguments`. 0 only if the verdict is `pass`; 1 not good, 2 refused, 130 interrupted.

    `rerun` is the command that runs the points again, if the suites do not outlive the call.
    """
    args = list(arguments[1:] if arguments[:1] == ["--"] else arguments)
    nonce = secrets.token_hex(8)
    try:
        call = handover.read_call(args)
    except UsageError as error:
        named = options.named_files(args, is_ours=True)
        raise UsageError(refuse_named(named, Path.cwd(), nonce, str(error), Invocation())) from error
    claim = claim_of(call.option, call.here, nonce)
    try:
        if options.shows_only(call.option) or options.collects_only(call.option):
            raise UsageError(  # noqa: TRY301 # refused as the functions called here refuse
                "this call only shows something and runs nothing: call pytest itself"
            )
        suites = find_suites(call.option, call.here, call.rootpath, call.testpaths)
        if not suites:
            raise UsageError(  # noqa: TRY301 # as above
                f"{' '.join(call.option.file_or_dir) or 'the folder'} contains no suite: name a folder with a "
                "*.yaml that has a top-level key `suite`"
            )
        invocation = msgspec.structs.replace(call.given.invocation, command_line=tuple(args))
        log = claim.take(RUN, called_now(claim.results, invocation))
    except UsageError as error:
        raise UsageError(claim.refuse(str(error), call.given.invocation)) from error
    try:
        _plan(call, suites, claim, log, nonce, rerun)
        return _run(args, claim, log, nonce, rerun)
    except UsageError as error:
        log.append(Refused(sentence=str(error)))
        conclude(claim, log, status=4)
        raise
    finally:
        claim.close()


def _plan(
    call: handover.ReadCall, suites: Sequence[Path], claim: Claim, log: EventLog, nonce: str, rerun: str
) -> None:
    """Plan independently of pytest. Suites that need names of a conftest (APIs, audits, scorers) pytest plans alone."""
    named = call.option.plugins or ()
    plugins = [name for name in named if not name.startswith("no:") and name != handover.PLUGIN]
    try:
        plan = load_plan(suites, vocabulary_of(plugins), overrides(call.option), os.environ, root=call.here)
    except SuiteError:
        return  # pytest reports the same problems, unless a conftest solves them
    session = Session(
        plan=plan,
        nonce=nonce,
        results_path=str(claim.results),
        root_path=str(call.here),
        selection=Selection(),
        rerun_options=call.given.rerun_options(),
        rerun_command=rerun,
    )
    record_plan(session, log, call.given, call.option, call.here, claim)


def _run(args: Sequence[str], claim: Claim, log: EventLog, nonce: str, rerun: str) -> int:
    handed = handover.HandedSession(
        results=str(claim.results), nonce=nonce, junit=claim.junit, parent=os.getpid(), rerun=rerun
    )
    child = start([sys.executable, "-m", "pytest", *args], handover.environment(handed))
    status = wait(child)
    end_descendants()
    verdict = conclude(claim, log, status)
    unreported = [fault for fault in verdict.faults if fault.code in {"cut-off", "pytest-exit", NOT_ENDED}]
    if unreported:
        sentences = "; ".join(fault.sentence for fault in unreported)
        results = os.path.relpath(claim.results)
        # On a line of its own: pytest may have ended in the middle of one.
        print(f"\nverdict: {verdict.status}: {printable(sentences)}", file=sys.stderr)
        print(
            f"evidence: {results}\nmore: {shlex.join(['pytest-bench', 'verify', results])}", file=sys.stderr
        )
    return _EXITS[exit_status(verdict)]
