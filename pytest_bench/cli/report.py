"""`pytest-bench report`: one HTML page of one or several sessions, after their folders were verified."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pytest_bench.cli.contributions import add_plugin_argument, contributions
from pytest_bench.cli.judging import require_session
from pytest_bench.cli.sides import read_verified
from pytest_bench.comparison.sessions import Session, names
from pytest_bench.errors import UsageError
from pytest_bench.files import write_atomic
from pytest_bench.html_report.page import plotting_library, render
from pytest_bench.scoring import all_scorings

SUMMARY = "write one HTML page with the results, plots and samples of verified sessions"
EXAMPLE = "pytest-bench report results/latest -o report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results",
        type=Path,
        nargs="+",
        metavar="RESULTS",
        help="results folder of a session; several are compared",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="file to write (default: report.html)",
    )
    add_plugin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 if all folders verified and the page is written. A folder that does not verify is named, and not on the page.

    If none verifies, no page is written.
    """
    folders: list[Path] = arguments.results
    for folder in folders:
        require_session(folder)
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("RESULTS: a folder is named twice; name each once")
    plotting_library()  # its absence is noticed before the folders are read
    sessions: list[Session] = []
    refused: list[str] = []
    for name, folder in zip(names(folders), folders, strict=True):
        session = read_verified(name, folder, arguments.plugins, refused)
        if session is not None:
            sessions.append(session)
    for line in refused:
        print(f"does not verify: {line}", file=sys.stderr)
    if sessions:
        scorings = all_scorings(contributions(arguments.plugins).scorings)
        page = render(sessions, arguments.output, refused, scorings)
        write_atomic(arguments.output, page.encode(errors="replace"))
        print(arguments.output)
    return 1 if refused else 0
