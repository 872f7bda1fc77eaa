"""`pytest-bench verify`: judge results again, from their files and an independent expectation."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pytest_bench.cli.contributions import add_plugin_argument
from pytest_bench.cli.judging import is_session, judges_for
from pytest_bench.errors import UsageError
from pytest_bench.files import write_json
from pytest_bench.lmeval import (
    Request,
    Thresholds,
    is_result_name,
    parse_concurrencies,
    parse_tasks,
    read_thresholds,
    verify_folder,
)
from pytest_bench.verdict.events import Expectation
from pytest_bench.verdict.expectation import read_expectation
from pytest_bench.verdict.verdict import Verdict
from pytest_bench.verify import parse_age, reuse, too_old, verify_session
from pytest_bench.wording import printable

SUMMARY = "check that a results folder proves its verdict, against what should have run"
EXAMPLE = "pytest-bench verify results/latest --expect expectation.json"

_REUSABLE = "7d"
_OPTIONS = {"plugins": "-p"}
_NOT_GIVEN: tuple[object, ...] = (None, [])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="results of a session, or a folder that lm-eval wrote with its meta_env.json",
    )
    parser.add_argument(
        "--expect", type=Path, metavar="FILE", help="what must have run, as written by `pytest-bench plan`"
    )
    parser.add_argument(
        "--max-age",
        metavar="AGE",
        help="refuse results that are older: 7d, 12h, 30min (default for reused results: 7d)",
    )
    ours = parser.add_argument_group("results of a session")
    ours.add_argument(
        "--allow-partial",
        action="store_true",
        default=None,
        help="ignore points that the selection left out",
    )
    ours.add_argument(
        "--reuse",
        type=Path,
        metavar="OLD",
        help="an earlier session whose results may be used for expected points",
    )
    ours.add_argument(
        "--junit", type=Path, metavar="FILE", help="the session's JUnit file, if --junitxml named another"
    )
    add_plugin_argument(ours)
    ours.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the new verdict to FILE")
    theirs = parser.add_argument_group("a folder of lm-eval")
    theirs.add_argument("--expected-concs", metavar="'1 2 4'", help="the requested concurrencies")
    theirs.add_argument("--thresholds", type=Path, metavar="FILE", help="minimum score of each task")
    theirs.add_argument(
        "--min-score", type=float, metavar="X", help="minimum score of tasks without a threshold"
    )
    theirs.add_argument(
        "--metric-prefix", metavar="P", help=f"which metrics count (default: {Request.metric_prefix})"
    )
    theirs.add_argument(
        "--model-prefix", metavar="P", help="model whose thresholds apply (default: that of meta_env.json)"
    )
    theirs.add_argument(
        "--expected-tasks", metavar="'gsm8k mmlu'", help="tasks that every result must have a score of"
    )
    theirs.add_argument(
        "--allow-missing",
        action="append",
        choices=["eval_exit_code"],
        metavar="FIELD",
        help="accept metadata without eval_exit_code, as InferenceX writes it; the output says that it was not proven",
    )
    theirs.add_argument(
        "--limit", type=int, metavar="N", help="number of items to which each task was limited on purpose"
    )


def run(arguments: argparse.Namespace) -> int:
    """0 if everything requested is there and good, else 1, with every problem on standard error."""
    folder: Path | None = arguments.folder
    if folder is None:
        if arguments.reuse is None:
            raise UsageError("name a folder, or --reuse OLD with --expect FILE")
        return _session(None, arguments)
    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder")
    return _session(folder, arguments) if _is_ours(folder) else _lmeval(folder, arguments)


def _is_ours(folder: Path) -> bool:
    """Whether the folder holds a session's results. Raises `UsageError` for an unrecognised folder."""
    if is_session(folder):
        return True
    names = {path.name for path in folder.iterdir()}
    if "meta_env.json" in names or any(map(is_result_name, names)):
        return False
    raise UsageError(
        f"{folder}: holds neither a plan.json (results of a session) nor a meta_env.json or results*.json (lm-eval)"
    )


def _session(folder: Path | None, arguments: argparse.Namespace) -> int:
    _refuse(
        arguments,
        "a folder of lm-eval",
        *("expected_concs", "thresholds", "min_score", "metric_prefix", "model_prefix", "limit"),
        *("expected_tasks", "allow_missing"),
    )
    expectation = None if arguments.expect is None else read_expectation(arguments.expect)
    problems: list[str] = []
    verdict: Verdict | None = None
    if folder is not None:
        verified = verify_session(
            folder,
            expectation,
            **judges_for(folder, arguments.plugins)._asdict(),
            junit_file=arguments.junit,
        )
        verdict = verified.verdict
        problems += (f"{folder}: {problem}" for problem in verified.problems)
        for note in verified.notes:
            _say(f"note: {folder}: {note}")
        if arguments.max_age is not None:
            problems += too_old(verdict, folder, parse_age(arguments.max_age), datetime.now(UTC))
    if arguments.reuse is not None:
        verdict = _reuse(verdict, expectation, arguments, problems)
    if verdict is not None and arguments.output is not None:
        write_json(arguments.output, verdict)
    problems += (
        []
        if verdict is None
        else _shortcomings(verdict, expectation, allow_partial=bool(arguments.allow_partial))
    )
    _complain(problems)
    if verdict is None or problems:
        return 1
    _say(f"{verdict.status}: {len(verdict.points)} points verified, coverage {_coverage(verdict)}")
    return 0


def _reuse(
    verdict: Verdict | None,
    expectation: Expectation | None,
    arguments: argparse.Namespace,
    problems: list[str],
) -> Verdict:
    if expectation is None:
        raise UsageError("--reuse needs --expect FILE: only what an expectation names can be reused")
    if not arguments.reuse.is_dir():
        raise UsageError(f"--reuse {arguments.reuse}: is not a folder")
    age_s = parse_age(arguments.max_age or _REUSABLE)
    found = reuse(
        verdict,
        arguments.reuse,
        expectation,
        max_age_s=age_s,
        now=datetime.now(UTC),
        **judges_for(arguments.reuse, arguments.plugins)._asdict(),
    )
    for point in found.verdict.points:
        if point.reused is not None:
            _say(f"reused: {point.id} from {point.reused}")
    problems += found.refused
    return found.verdict


def _shortcomings(verdict: Verdict, expectation: Expectation | None, *, allow_partial: bool) -> Iterable[str]:
    """Why the verdict is not good enough."""
    for fault in verdict.faults:
        yield fault.sentence
    for point in verdict.points:
        if point.outcome != "pass":
            yield f"{point.id}: {point.outcome}"
            yield from (f"  {reason.sentence}" for reason in point.reasons)
    if verdict.status != "pass" and not verdict.faults and not verdict.points:
        yield f"the verdict is {verdict.status}"
    if not verdict.coverage.complete and expectation is None and not allow_partial:
        limited = verdict.coverage.limited or ()
        what = f"{', '.join(verdict.coverage.left_out) or 'no point'} left out"
        if limited:
            what += f", and items of {', '.join(limited)}"
        yield (
            f"coverage is partial: {what}; say --allow-partial, or name what must have run with --expect FILE"
        )


def _coverage(verdict: Verdict) -> str:
    if verdict.coverage.complete:
        return "complete"
    limited = len(verdict.coverage.limited or ())
    return f"partial ({len(verdict.coverage.left_out)} left out{f', {limited} limited' * bool(limited)})"


def _lmeval(folder: Path, arguments: argparse.Namespace) -> int:
    _refuse(arguments, "results of a session", "reuse", "output", "allow_partial", "junit", "plugins")
    problems: list[object] = []
    thresholds = Thresholds()
    if arguments.thresholds is not None:
        thresholds, wrong = read_thresholds(arguments.thresholds)
        problems += wrong
    if arguments.min_score is not None and not 0 <= arguments.min_score <= 1:
        raise UsageError(f"--min-score {arguments.min_score}: expected a number from 0 to 1")
    for option, value in (
        ("--metric-prefix", arguments.metric_prefix),
        ("--model-prefix", arguments.model_prefix),
    ):
        if value == "":
            raise UsageError(f"{option} is empty; expected a prefix, or leave the option out")
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit}: expected 1 or more")
    now_s = None if arguments.max_age is None else time.time()
    verification = verify_folder(
        folder,
        Request(
            concurrencies=_concurrencies(arguments),
            thresholds=thresholds,
            min_score=arguments.min_score,
            tasks=() if arguments.expected_tasks is None else parse_tasks(arguments.expected_tasks),
            metric_prefix=Request.metric_prefix
            if arguments.metric_prefix is None
            else arguments.metric_prefix,
            model_prefix=arguments.model_prefix,
            limit=arguments.limit,
            allow_missing=frozenset(arguments.allow_missing or ()),
            not_before_s=None if now_s is None else now_s - parse_age(arguments.max_age),
            not_after_s=now_s,
        ),
    )
    problems += verification.findings
    for note in verification.notes:
        _say(f"note: {note}")
    for item in verification.checked:
        score = item.score
        relation = ">=" if score.value >= item.threshold else "<"
        _say(
            f"{score.file}: {score.task} {score.metric} = {score.value:.4f} {relation} {item.threshold:g} "
            f"({item.source})"
        )
    _complain(problems)
    return 1 if problems else 0


def _concurrencies(arguments: argparse.Namespace) -> tuple[int, ...] | None:
    """The concurrencies that were asked for: given directly, or by the points of one eval in an expectation."""
    said = None if arguments.expected_concs is None else parse_concurrencies(arguments.expected_concs)
    if arguments.expect is None:
        return said
    names = list(read_expectation(arguments.expect).points)
    evals = {name.rpartition("/c")[0] for name in names if "/eval/" in name}
    numbers = [name.rpartition("/c")[2].lstrip("0") for name in names]
    if len(evals) != 1 or not all(number.isdecimal() for number in numbers):
        raise UsageError(
            f"--expect {arguments.expect}: expected the points of one eval, as in 'suite/eval/gsm8k/c0008', to hold "
            "a folder of lm-eval against; or say --expected-concs '1 2 4'"
        )
    expected = parse_concurrencies(" ".join(numbers))
    if said is not None and set(said) != set(expected):
        raise UsageError(
            f"--expected-concs {arguments.expected_concs!r} and --expect {arguments.expect} differ"
        )
    return expected


def _refuse(arguments: argparse.Namespace, meant_for: str, *names: str) -> None:
    values = {_OPTIONS.get(name, f"--{name.replace('_', '-')}"): getattr(arguments, name) for name in names}
    given = [option for option, value in values.items() if value not in _NOT_GIVEN]
    if given:
        raise UsageError(f"{', '.join(given)}: only for {meant_for}")


def _complain(problems: Iterable[object]) -> None:
    for problem in problems:
        print(printable(str(problem), keep="\n"), file=sys.stderr)


def _say(text: str) -> None:
    print(printable(text, keep="\n"))
