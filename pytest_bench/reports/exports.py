"""The tables of points in other formats: CSV and JSON with full numbers, and Markdown as shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pytest_bench.files import readable_json
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.reports.tables import PERF_METRICS, Row, shown_cells, tables
from pytest_bench.verdict.verdict import Verdict

_COUNTED = frozenset({"failed_requests"})
"""Metrics of evals that every record has as a count."""

TABLE_VERSION = 1
"""Version of the JSON that `json_text` writes."""


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One mapping per point: its id, outcome and labels, and its numbers in base units; None for what it lacks.

    Metrics have their names in bounds, such as `time_to_first_token.p99`. Metrics that no point has are left out.
    Audits and evals have their scalar metrics, and the short texts of their tables.
    """
    made = [_record(row) for row in rows]
    names = list(
        dict.fromkeys(name for record in made for name, value in record.items() if value is not None)
    )
    return [{name: record.get(name) for name in names} for record in made]


def _record(row: Row) -> dict[str, Any]:
    measurement = row.summary.measurement if row.summary else None
    record: dict[str, Any] = {
        "point": row.point.id,
        "outcome": row.point.outcome.value,
        "labels": list(row.point.labels),
    }
    if measurement is not None:
        record |= {"requests": measurement.issued, "failed": measurement.failed}
        record |= {name: _shortest(measurement.value(name)) for name in _metrics(measurement)}
    if row.summary is not None:
        record["vacancy"] = row.summary.vacancy
    return record | {" ".join(name.split()): text for name, text in shown_cells(row).items()}


def _metrics(measurement: Measurement) -> Iterator[str]:
    """The metrics that are shown: those of the performance table, or if there are none, all scalars."""
    known = [name for name in PERF_METRICS if name.partition(".")[0] in measurement.metrics]
    yield from known or (
        name
        for name, metric in measurement.metrics.items()
        if metric.kind == "scalar" and name not in _COUNTED
    )


def _shortest(value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value


def units(rows: Sequence[Row]) -> dict[str, str]:
    """The base unit of each metric in `records`; none for counts, texts, and columns of audits and evals."""
    found: dict[str, str] = {}
    for row in rows:
        measurement = row.summary.measurement if row.summary else None
        if measurement is not None:
            found |= {name: measurement.unit(name) for name in _metrics(measurement)}
    return found


def json_text(rows: Sequence[Row], verdict: Verdict, problems: Sequence[str]) -> str:
    """A JSON object with the verdict's status, its coverage, the `problems` of the folder, and `records`."""
    return readable_json(
        {
            "version": TABLE_VERSION,
            "nonce": verdict.nonce,
            "status": verdict.status,
            "coverage": verdict.coverage,
            "faults": [fault.sentence for fault in verdict.faults],
            "problems": list(problems),
            "units": units(rows),
            "points": records(rows),
        }
    ).decode()


def csv_text(rows: Sequence[Row]) -> str:
    """`records` as CSV. The header has units, `time_to_first_token.p99 (ns)`; labels are separated by spaces."""
    made, unit = records(rows), units(rows)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = list(made[0]) if made else ["point", "outcome"]
    writer.writerow(f"{name} ({unit[name]})" if name in unit else name for name in names)
    for record in made:
        writer.writerow(" ".join(value) if isinstance(value, list) else value for value in record.values())
    return stream.getvalue()


def markdown_text(rows: Sequence[Row]) -> str:
    """The tables as shown on a terminal, as Markdown."""
    return "\n\n".join("\n".join(markdown_table(table)) for table in tables(rows)) + "\n"


def markdown_table(table: Table) -> Iterator[str]:
    """The lines of one table as Markdown."""
    yield f"**{table.title}**"
    yield ""
    yield _row(column.header for column in table.columns)
    yield _row("---:" if column.justify == "right" else "---" for column in table.columns)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        yield _row(cells)
    if table.caption:
        yield ""
        yield str(table.caption)


def _row(cells: Any) -> str:
    texts = (cell.plain if isinstance(cell, Text) else str(cell) for cell in cells)
    escaped = (" ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|") for text in texts)
    return f"| {' | '.join(escaped)} |"
