"""`pytest-bench show`: the table of an earlier session, after its folder was verified."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pytest_bench.cli.contributions import add_plugin_argument
from pytest_bench.cli.judging import judges_for, require_session
from pytest_bench.errors import EvidenceError
from pytest_bench.reports.exports import csv_text, json_text, markdown_text
from pytest_bench.reports.next_command import next_command
from pytest_bench.reports.rows import read_rows
from pytest_bench.reports.session_text import conclusion, notes, problems, table_lines, wrapped
from pytest_bench.reports.vllm_block import vllm_blocks
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.layout import VERDICT
from pytest_bench.verdict.outcome import Outcome, Reason
from pytest_bench.verdict.verdict import NOT_ENDED, Verdict, exit_status, status_of
from pytest_bench.verify import verify_session
from pytest_bench.wording import printable

SUMMARY = "print the table and the verdict of a session, after verifying its folder"
EXAMPLE = "pytest-bench show results/latest --markdown"

_DAMAGED = Reason("damaged", "the folder is damaged, or its files contradict each other")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, metavar="RESULTS", help="results folder of a session")
    formats = parser.add_mutually_exclusive_group()
    for name, what in (
        ("csv", "one line per point, numbers in base units (ns, requests/s, tokens/s)"),
        ("json", "the same numbers as JSON, with the verdict"),
        ("markdown", "the tables as Markdown"),
    ):
        formats.add_argument(f"--{name}", dest="format", action="store_const", const=name, help=what)
    parser.add_argument(
        "--summary",
        choices=("vllm",),
        help="also print performance points in the shape of `vllm bench serve`",
    )
    add_plugin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 if the verdict is good, as it was for the session, and the folder is sound; else 1."""
    folder: Path = arguments.results
    require_session(folder)
    verified = verify_session(folder, **judges_for(folder, arguments.plugins)._asdict())
    verdict = _never_better(verified.verdict, folder, damaged=not verified.sound)
    rows = read_rows(folder, verdict)
    match arguments.format:
        case "csv":
            sys.stdout.write(csv_text(rows))
        case "json":
            sys.stdout.write(json_text(rows, verdict, verified.problems))
        case "markdown":
            sys.stdout.write(markdown_text(rows))
        case _:
            width = _width()
            _print(table_lines(rows, colour=sys.stdout.isatty(), width=width))
            _print([*wrapped(notes(rows), width), *(vllm_blocks(rows) if arguments.summary else ())])
            _print(wrapped(problems(verdict), width))
            _print([f"verdict: {verdict.status} - {conclusion(verdict)}", f"evidence: {folder}"])
            if verified.sound:
                plugins = arguments.plugins
                more = next_command(verdict, rows, str(folder), plugins=plugins, verified=True)
                _print([f"more: {more}"])
    for problem in verified.problems:
        print(f"{folder}: {printable(problem, keep=chr(10))}", file=sys.stderr)
    return 0 if exit_status(verdict) == 0 and verified.sound else 1


def _never_better(settled: Verdict, folder: Path, *, damaged: bool) -> Verdict:
    """The settled verdict, with each point as in the recorded one if that is worse, and no pass in a damaged folder."""
    try:
        recorded = {point.id: point for point in read_verdict(folder / VERDICT).points}
    except EvidenceError:
        recorded = {}  # verifying says so
    ended = not any(fault.code == NOT_ENDED for fault in settled.faults)
    points = []
    for point in settled.points:
        before = recorded.get(point.id, point)
        worse = before if before.outcome.severity > point.outcome.severity else point
        if damaged and ended and worse.outcome is Outcome.PASS:
            worse = msgspec.structs.replace(worse, outcome=Outcome.ERROR, reasons=(_DAMAGED,))
        points.append(worse)
    faults = settled.faults
    if damaged and ended and not faults:
        faults = (_DAMAGED,)
    return msgspec.structs.replace(
        settled, points=tuple(points), faults=faults, status=status_of(points, faults)
    )


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)
