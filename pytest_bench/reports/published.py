"""Files about a session as a whole, written when it has ended: `summary.csv` and `summary.json` in its folder, and what
GitHub Actions shows."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.files import write_atomic
from pytest_bench.reports.exports import csv_text, json_text
from pytest_bench.reports.github import LIMIT_BYTES, error_annotations, step_summary
from pytest_bench.reports.rows import read_rows
from pytest_bench.results.layout import SUMMARY_CSV, SUMMARY_JSON
from pytest_bench.results.plan_file import read_plan
from pytest_bench.verdict.verdict import Verdict

_LEAST_BYTES = 4096
"""Room below which no summary is added."""


def summary_files(results: Path, verdict: Verdict) -> dict[str, bytes]:
    """The content of `summary.csv` and `summary.json`, from the verdict and the summaries of the points."""
    rows = read_rows(results, verdict)
    return {
        SUMMARY_CSV: csv_text(rows).encode(errors="replace"),
        SUMMARY_JSON: json_text(rows, verdict, ()).encode(errors="replace"),
    }


def publish(results: Path, verdict: Verdict) -> None:
    """Write the summary files of a session that has ended, and tell GitHub Actions if it runs there.

    What cannot be written is said on standard error: the verdict does not depend on it.
    """
    for name, data in summary_files(results, verdict).items():
        try:
            write_atomic(results / name, data)
        except OSError as error:
            (results / name).unlink(missing_ok=True)
            print(f"{results / name}: cannot be written: {error.strerror or error}", file=sys.stderr)
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            _append(Path(path), results, verdict)
        except OSError as error:
            print(
                f"GITHUB_STEP_SUMMARY: {path}: cannot be written: {error.strerror or error}", file=sys.stderr
            )
    if os.environ.get("GITHUB_ACTIONS") == "true":
        here = str(Path.cwd())
        for line in error_annotations(
            verdict, _root(results) or here, os.environ.get("GITHUB_WORKSPACE") or here
        ):
            print(line, flush=True)


def _root(results: Path) -> str:
    """What origins of points are relative to; empty if the plan is damaged, which is a fault of the verdict."""
    try:
        return read_plan(results).plan.root
    except EvidenceError:
        return ""


def _append(path: Path, results: Path, verdict: Verdict) -> None:
    """Append the summary to what the step has written. Raises `OSError`."""
    with path.open("ab") as stream:
        room = LIMIT_BYTES - stream.tell()
        if room < _LEAST_BYTES:
            raise OSError(f"{room} bytes are left of the {LIMIT_BYTES} that GitHub shows of a step")
        folder = os.path.relpath(results)
        stream.write(
            step_summary(read_rows(results, verdict), verdict, folder, limit=room).encode(errors="replace")
        )
