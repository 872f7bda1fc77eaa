"""The points of a results folder with their summaries, for tables."""

from __future__ import annotations

from pathlib import Path

from pytest_bench.errors import BenchError
from pytest_bench.reports.tables import Row
from pytest_bench.results.layout import point_path
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.verdict.verdict import PointVerdict, Verdict


def read_rows(results: Path, verdict: Verdict) -> list[Row]:
    """The points of `verdict`, each with its summary; None if it has none, or a damaged one."""
    return [Row(point, _summary(results, point)) for point in verdict.points]


def _summary(results: Path, point: PointVerdict) -> Summary | None:
    try:
        return read_summary(results / point_path(point.id))
    except BenchError:
        return None  # the verdict's reasons say what is wrong with the evidence
