"""`pytest-bench requests`: every request of a verified session as one Parquet table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_bench.cli.contributions import add_plugin_argument
from pytest_bench.cli.judging import judges_for, require_session
from pytest_bench.reports.requests_table import write_requests
from pytest_bench.verify import verify_session
from pytest_bench.wording import printable

SUMMARY = "write every request of a verified session as one Parquet table"
EXAMPLE = "pytest-bench requests results/latest requests.parquet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder of a session")
    parser.add_argument("out", type=Path, metavar="FILE", help="file to write")
    add_plugin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 if the folder verified and the table is written. The requests of evals are in their checkpoints, not here."""
    folder: Path = arguments.results
    require_session(folder)
    verified = verify_session(folder, **judges_for(folder, arguments.plugins)._asdict())
    for problem in verified.problems:
        print(f"does not verify: {folder}: {printable(problem)}", file=sys.stderr)
    if not verified.sound or verified.plan is None:
        return 1
    print(f"{arguments.out}: {write_requests(folder, verified.plan, arguments.out)} requests")
    return 0
