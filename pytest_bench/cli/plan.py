"""`pytest-bench plan`: what pytest would run, determined independently of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from pytest_bench.catalogue import require_possible
from pytest_bench.cli.planning import add_suite_arguments, read_plan
from pytest_bench.errors import UsageError
from pytest_bench.files import readable_json, write_atomic
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.expectation import expectation_json

SUMMARY = "list every point that suites declare, as an expectation for --expect and verify"
EXAMPLE = "pytest-bench plan suites/ --endpoint http://host:8000 --output expectation.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_suite_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write to FILE, and print the points",
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="only points whose id matches, as in 'chat/perf/*'; without the plan's digest",
    )
    parser.add_argument(
        "--no-digests", action="store_true", help="names only, so that each point may be declared in any way"
    )
    parser.add_argument(
        "--full", action="store_true", help="show the whole plan with every default filled in instead"
    )


def run(arguments: argparse.Namespace) -> int:
    """Return 0. Raises `UsageError` if the suites cannot be planned."""
    plan = read_plan(arguments)
    points = _chosen(plan, arguments.only)
    for point in points:
        if note := plan.unscaled(point):
            print(f"note: {point.id}: {note}", file=sys.stderr)
    if arguments.full:
        data = readable_json({"digest": plan.digest(), "plan": plan})
    else:
        if not arguments.no_digests:  # names can be written before the tokenizer is known
            require_possible(plan, points)
            _require_data(plan, points)
        named = {point.id: None if arguments.no_digests else plan.point_digest(point) for point in points}
        whole = not (arguments.no_digests or arguments.only)
        data = readable_json(expectation_json(named, plan.digest() if whole else None))
    if arguments.output is None:
        sys.stdout.write(data.decode())
        return 0
    try:
        write_atomic(arguments.output, data)
    except OSError as error:
        raise UsageError(f"{arguments.output}: cannot be written: {error.strerror or error}") from error
    print("\n".join(point.id for point in points))
    return 0


def _require_data(plan: Plan, points: Iterable[Point]) -> None:
    """Raises `UsageError` if a file that digests depend on is missing, because no session could match them."""
    missing = {
        dataset.origin: f"{dataset.origin}: dataset {dataset.name!r}: {dataset.path}: there is no such regular file"
        for point in points
        for dataset in plan.datasets_of(point)
        if dataset.path is not None and dataset.contents is None
    }
    if missing:
        raise UsageError(
            "\n".join(missing.values())
            + "\nDigests cover the data: run this where the data is, or add --no-digests"
        )


def _chosen(plan: Plan, pattern: str | None) -> list[Point]:
    chosen = [point for point in plan.points if pattern is None or fnmatchcase(point.id, pattern)]
    if not chosen:
        known = ", ".join(point.id for point in plan.points)
        raise UsageError(f"--only {pattern!r} matches no point; the suites declare {known}")
    return chosen
