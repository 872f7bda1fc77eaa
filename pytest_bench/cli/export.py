"""`pytest-bench export`: results in the layout of an MLPerf submission."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from pytest_bench.errors import UsageError
from pytest_bench.reports.mlperf import export

SUMMARY = "write results in the folder layout that MLPerf's submission checker reads"
EXAMPLE = "pytest-bench export results/latest submission/"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder of a session")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write below")
    parser.add_argument(
        "--benchmark",
        action="append",
        default=[],
        metavar="SUITE=NAME",
        help="MLPerf's name of the benchmark of a suite, if it is not the model's name",
    )
    parser.add_argument(
        "--without-audits",
        action="store_true",
        help="export even if the session left out audits of the exported points",
    )


def run(arguments: argparse.Namespace) -> int:
    """Returns 0 after writing everything. Results that cannot be submitted are a usage error."""
    names = {}
    for text in arguments.benchmark:
        suite, equals, name = text.partition("=")
        if not (suite and equals and name):
            raise UsageError(f"--benchmark {text!r}: expected SUITE=NAME")
        names[suite] = name
    for folder in export(
        arguments.results,
        arguments.out,
        benchmarks=names,
        without_audits=arguments.without_audits,
        note=functools.partial(print, file=sys.stderr),
    ):
        print(folder)
    return 0
