"""The tables of points in other formats: CSV and JSON with full numbers, and Markdown as shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from pytest_bench.files import readable_json
from pytest_bench.reports.tables import PERF_METRICS, Row, shown_cells, tables
from pytest_bench.verdict.verdict import Verdict

TABLE_VERSION = 1
"""Version of the JSON that `json_text` writes."""


def records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One mapping per point: its id, outcome and labels, and its numbers in base units; None for what it lacks.

    Metrics have their names in bounds, such as `time_to_first_token.p99`. Metrics that no point has are left out.
    Columns of audits are short texts.
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
        record |= {
            name: _shortest(measurement.value(name))
            for name in PERF_METRICS
            if name.partition(".")[0] in measurement.metrics
        }
    if row.summary is not None:
        record["vacancy"] = row.summary.vacancy
    return record | shown_cells(row)


def _shortest(value: float | None) -> float | None:
    return int(value) if value is not None and value.is_integer() else value


def json_text(rows: Sequence[Row], verdict: Verdict, problems: Sequence[str]) -> str:
    """A JSON object with the verdict's status, its coverage, the `problems` of the folder, and `records`."""
    return readable_json(
        {
            "version": TABLE_VERSION,
            "status": verdict.status,
            "coverage": verdict.coverage,
            "faults": [fault.sentence for fault in verdict.faults],
            "problems": list(problems),
            "points": records(rows),
        }
    ).decode()


def csv_text(rows: Sequence[Row]) -> str:
    """`records` as CSV with a header; labels are separated by spaces."""
    made = records(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(made[0]) if made else ["point", "outcome"], lineterminator="\n")
    writer.writeheader()
    for record in made:
        writer.writerow(
            {name: " ".join(value) if isinstance(value, list) else value for name, value in record.items()}
        )
    return stream.getvalue()


def markdown_text(rows: Sequence[Row]) -> str:
    """The tables as shown on a terminal, as Markdown."""
    return "\n\n".join("\n".join(_markdown(table)) for table in tables(rows)) + "\n"


def _markdown(table: Table) -> Iterator[str]:
    yield f"**{table.title}**"
    yield ""
    yield _row(column.header for column in table.columns)
    yield _row("---:" if column.justify == "right" else "---" for column in table.columns)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        yield _row(cells)


def _row(cells: Any) -> str:
    texts = (cell.plain if isinstance(cell, Text) else str(cell) for cell in cells)
    escaped = (" ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|") for text in texts)
    return f"| {' | '.join(escaped)} |"
