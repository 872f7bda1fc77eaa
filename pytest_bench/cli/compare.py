"""`pytest-bench compare`: the differences of two sessions, or of two folders of repeated sessions."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from pytest_bench.cli.contributions import add_plugin_argument, contributions
from pytest_bench.cli.sides import read_side
from pytest_bench.comparison import text
from pytest_bench.comparison.compare import Wanted, compare
from pytest_bench.comparison.conditions import EXAMPLE as CONDITION
from pytest_bench.comparison.conditions import parse_condition
from pytest_bench.comparison.result import Comparison
from pytest_bench.errors import UsageError
from pytest_bench.scoring import all_scorings
from pytest_bench.wording import printable

SUMMARY = "compare two sessions, or two folders of repeated sessions"
EXAMPLE = f'pytest-bench compare results/old results/new --fail-on "{CONDITION}"'

NOT_GOOD, WORSE, CANNOT_TELL = 1, 3, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, what in (("baseline", "what to compare with"), ("candidate", "what to compare")):
        parser.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help=f"{what}: results folder of a session, or a folder of sessions (pytest-bench repeat)",
        )
    parser.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="CONDITION",
        help=f"a difference from which the candidate is worse, such as {CONDITION.replace('%', '%%')!r}: the exit "
        "status is 0 if it is not worse, 3 if it is worse, and 4 if more repeats are needed; may be repeated",
    )
    parser.add_argument(
        "--resolution",
        metavar="DIFFERENCE",
        help="the smallest excess over the limit of --fail-on that matters, such as 2%%; repeats are asked for until "
        "it can be seen (default: as much as the limit)",
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="METRIC",
        help="show this metric of performance points, such as request_latency.p90; may be repeated (default: those of "
        "the terminal's table)",
    )
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        metavar="ID",
        help="compare only this point; may be repeated (default: all)",
    )
    parser.add_argument(
        "--incomparable",
        action="store_true",
        help="also compare points with other data, load or requests, and say so on every line",
    )
    formats = parser.add_mutually_exclusive_group()
    for name, what in (("json", "full numbers as JSON"), ("markdown", "the tables as Markdown")):
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=what)
    add_plugin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 if all was compared and no condition is broken; 1 if something cannot be compared; 3 worse; 4 cannot tell."""
    folders = arguments.baseline, arguments.candidate
    if folders[0].resolve() == folders[1].resolve():
        raise UsageError(f"{folders[0]}: is on both sides; name two folders")
    if arguments.resolution is not None and not arguments.fail_on:
        raise UsageError("--resolution: goes with --fail-on")
    scorings = all_scorings(contributions(arguments.plugins).scorings)
    conditions = [parse_condition(one, arguments.resolution, scorings) for one in arguments.fail_on]
    refused: list[str] = []
    sides = [read_side(folder, arguments.plugins, refused) for folder in folders]
    for line in refused:
        print(f"does not verify: {line}", file=sys.stderr)
    if refused:
        return NOT_GOOD
    wanted = Wanted(
        conditions=conditions,
        metrics=arguments.metric,
        points=arguments.point,
        incomparable=arguments.incomparable,
        scorings=scorings,
    )
    with tempfile.TemporaryDirectory() as scratch:
        compared = compare(sides[0], sides[1], wanted, Path(scratch))
    show = {"json": text.json_text, "markdown": text.markdown_text}.get(arguments.format, text.plain_text)
    sys.stdout.write(show(compared, text.changed(sides[0], sides[1])))
    for problem in compared.problems:
        print(f"error: {printable(problem)}", file=sys.stderr)
    return status_of(compared)


def status_of(compared: Comparison) -> int:
    """The exit status: the worst of what was found, an error before all."""
    answers = {judged.answer for judged in compared.judged}
    if compared.problems:
        return NOT_GOOD
    if "worse" in answers:
        return WORSE
    return CANNOT_TELL if "cannot tell" in answers else 0
