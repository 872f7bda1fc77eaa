"""Tables of points, one per kind, narrow enough for a chat."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_bench.bounds import SCHEDULED
from pytest_bench.labels import Label
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.reports.extremes import BEST, LEGEND, WORST, extremes
from pytest_bench.results.details import AuditDetail, CommandDetail, EvalDetail, TablesDetail
from pytest_bench.results.summary import Summary
from pytest_bench.verdict.judge import SHOWN_UNCERTAINTY
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import PointVerdict
from pytest_bench.wording import first_of

NOTHING = "-"
_OUTCOME = "outcome"
_NAMES_SHOWN = 4

_WIDTH = 1000
"""Wider than any table, so that nothing is wrapped or truncated. Trailing space is removed."""

_TIME_UNITS = (("min", 60e9), ("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0))

_INTERRUPTS = frozenset({"cut-off", "interrupted"})
"""Reason codes of points that were measured only in part."""

_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ERROR: "bold red",
    Outcome.MISSING: "bold red",
}


class Row(NamedTuple):
    """A point of the verdict, and its summary if it has one."""

    point: PointVerdict
    summary: Summary | None


class _Column(NamedTuple):
    heading: str
    metrics: tuple[str, ...]
    """Shown together, in one unit."""
    nothing: str = NOTHING
    """The column is left out if all cells contain this or nothing."""
    compared: bool = True
    """Whether best and worst are marked."""


_PERF_COLUMNS = (
    _Column("empty", ("empty_outputs",), nothing="0", compared=False),
    _Column("req/s", ("request_throughput",)),
    _Column("out tok/s", ("output_token_throughput",)),
    _Column(
        "TTFT\np50/p90/p99", ("time_to_first_token.p50", "time_to_first_token.p90", "time_to_first_token.p99")
    ),
    _Column(
        "scheduled TTFT\np50/p90/p99",
        (
            "scheduled_time_to_first_token.p50",
            "scheduled_time_to_first_token.p90",
            "scheduled_time_to_first_token.p99",
        ),
    ),
    _Column("TPOT\np50/p99", ("time_per_output_token.p50", "time_per_output_token.p99")),
    _Column("latency\np50/p99", ("request_latency.p50", "request_latency.p99")),
    _Column("scheduled latency\np50/p99", ("scheduled_request_latency.p50", "scheduled_request_latency.p99")),
    _Column("goodput\nreq/s", ("goodput",)),
)
PERF_METRICS = tuple(metric for column in _PERF_COLUMNS for metric in column.metrics)
"""Metrics in the table of performance points, in its order."""


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """One table per kind of point, in the order in which the kinds appear. Empty columns are left out."""
    kinds = dict.fromkeys(_kind(row.point) for row in rows)
    for kind in kinds:
        own = [row for row in rows if _kind(row.point) == kind]
        yield _shown_table(kind, own) if kind in {"audit", "eval"} else _measured_table(kind, own)


def render(table: Table, *, colour: bool, width: int | None = None) -> list[str]:
    """The table as lines of text, with colours if `colour`.

    If the table is wider than `width` columns, the labels follow below it. If that is too wide, too, each row becomes a
    paragraph, because a wrapped table is unreadable.
    """
    if width is None or _fits(table, width):
        return _lines(table, colour=colour)
    if table.columns[-1].header == _OUTCOME:
        without_labels, labels = _labels_below(table)
        if _fits(without_labels, width):
            below = (
                Text(line) for text in labels for line in textwrap.wrap(text, width, subsequent_indent="  ")
            )
            return _lines(Group(without_labels, *below), colour=colour)
    legend = textwrap.wrap(str(table.caption or ""), width)
    lines = (Text(str(table.title), "bold"), *_paragraphs(table, width), *map(Text, legend))
    return _lines(Group(*lines), colour=colour)


def _fits(table: Table, width: int) -> bool:
    return max(map(cell_len, _lines(table, colour=False))) <= width


def _labels_below(table: Table) -> tuple[Table, list[str]]:
    """The table without the labels of its outcomes, and a line for each set of labels."""
    narrow = _empty(str(table.title), str(table.columns[0].header))
    narrow.caption = table.caption
    for column in table.columns[1:]:
        narrow.add_column(column.header, justify=column.justify, no_wrap=True)
    points: dict[str, list[str]] = {}
    for point, *values, outcome in zip(*(column.cells for column in table.columns), strict=True):
        shown = outcome if isinstance(outcome, Text) else Text(str(outcome))
        name, _, labels = shown.plain.partition(" (")
        narrow.add_row(point, *values, Text(name, style=shown.style))
        points.setdefault(labels.removesuffix(")"), []).append(str(point))
    everywhere = len(points) == 1
    lines = [
        f"{'labels' if everywhere else f'labels of {first_of(ids, _NAMES_SHOWN)}'}: {labels}"
        for labels, ids in points.items()
        if labels
    ]
    return narrow, lines


def _paragraphs(table: Table, width: int) -> Iterator[Text]:
    """The first and last cell, then the others as `heading value`. Lines break only between these."""
    headings = [column.header for column in table.columns[1:-1]]
    for point, *values, outcome in zip(*(column.cells for column in table.columns), strict=True):
        yield Text.assemble(f"{point}: ", outcome if isinstance(outcome, Text) else str(outcome))
        fields = [
            f"{heading} {value}" for heading, value in zip(headings, values, strict=True) if value != NOTHING
        ]
        whole = ", ".join("\N{NO-BREAK SPACE}".join(item.split()) for item in fields)
        for line in textwrap.wrap(whole, width - 2, break_long_words=False, break_on_hyphens=False):
            yield Text("  " + line.replace("\N{NO-BREAK SPACE}", " "))


def _lines(shown: RenderableType, *, colour: bool) -> list[str]:
    console = Console(
        width=_WIDTH,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
    )
    with console.capture() as capture:
        console.print(shown)
    return [line.rstrip() for line in capture.get().splitlines()]


def quantity(value: float | None, unit: str) -> str:
    """One number with three significant digits. Times have a unit, others do not."""
    return together([value], unit)


def together(values: Sequence[float | None], unit: str) -> str:
    """Numbers of one unit as `11.6/12.0/15.1 ms`. Null is `-`, and so is the whole text if all are null."""
    known = [abs(value) for value in values if value is not None]
    if not known:
        return NOTHING
    if unit == "requests":
        return "/".join(NOTHING if value is None else f"{value:.0f}" for value in values)
    if unit != "ns":
        return "/".join(NOTHING if value is None else _short(value) for value in values)
    name, size = next((item for item in _TIME_UNITS if max(known) >= item[1]), _TIME_UNITS[-1])
    return "/".join(NOTHING if value is None else _short(value / size) for value in values) + f" {name}"


def outcome_text(row: Row) -> Text:
    """The coloured outcome with the labels of the point; of an error, also why there are no numbers."""
    point = row.point
    labels = f" ({', '.join(point.labels)})" if point.labels else ""
    return Text(f"{point.outcome.value}{_kind_of_error(row)}", style=_COLOURS[point.outcome]).append(
        labels, style="dim"
    )


def _kind_of_error(row: Row) -> str:
    if row.point.outcome is not Outcome.ERROR:
        return ""
    if not _INTERRUPTS.isdisjoint(reason.code for reason in row.point.reasons):
        return ": interrupted"
    if row.summary is None:
        return ": not measured"
    return ": not judged" if row.summary.measurement is None else ""


def _measured_table(kind: str, rows: Sequence[Row]) -> Table:
    cells = {column: _cells(rows, column) for column in _PERF_COLUMNS}
    columns = [column for column in _PERF_COLUMNS if set(cells[column]) - {NOTHING, column.nothing}]
    counted = [_counted_by(row) for row in rows]
    vacant = [_vacancy(row) for row in rows]
    extra = {
        heading: texts
        for heading, texts in (("vacancy", vacant), ("tokens\nby", counted))
        if set(texts) - {NOTHING}
    }
    table = _table(
        kind, ["requests", "failed", *(column.heading for column in columns), *extra, "bounds\nmet"]
    )
    for number, row in enumerate(rows):
        measurement = row.summary.measurement if row.summary else None
        table.add_row(
            row.point.id,
            *((str(measurement.issued), str(measurement.failed)) if measurement else (NOTHING, NOTHING)),
            *(cells[column][number] for column in columns),
            *(texts[number] for texts in extra.values()),
            _bounds_met(row.point),
            outcome_text(row),
        )
    if any(text.startswith((BEST, WORST)) for texts in cells.values() for text in texts):
        table.caption = LEGEND
    return table


def _bounds_met(point: PointVerdict) -> str:
    """How many bounds are met. Without bounds of its own, a point is judged by the implied ones."""
    if not point.bounds:
        return NOTHING
    met = sum(judged.state == "met" for judged in point.bounds)
    return f"{met}/{len(point.bounds)}" + (" implied" if Label.UNBOUNDED in point.labels else "")


def _counted_by(row: Row) -> str:
    measurement = row.summary.measurement if row.summary else None
    source = measurement.token_source if measurement else None
    return NOTHING if source is None else source.shown


def _vacancy(row: Row) -> str:
    share = row.summary.vacancy if row.summary else None
    return NOTHING if share is None else f"{share:.2%}"


def _vacancy_cell(row: Row) -> dict[str, str]:
    share = _vacancy(row)
    return {} if share == NOTHING else {"vacancy": share}


def _gate_cell(row: Row) -> dict[str, str]:
    """The gate of an eval, or how many of several are met."""
    judged = row.point.bounds
    if len(judged) == 1:
        return {"gate": judged[0].bound.text}
    return {"gate": _bounds_met(row.point)} if judged else {}


def _shown_table(kind: str, rows: Sequence[Row]) -> Table:
    """The columns that audits and evals show: headings, each with a short text."""
    shown = [shown_cells(row) for row in rows]
    of_kind = _vacancy_cell if kind == "audit" else _gate_cell
    shown = [cells | of_kind(row) for row, cells in zip(rows, shown, strict=True)]
    headings = list(dict.fromkeys(heading for cells in shown for heading in cells))
    table = _table(kind, headings)
    for row, cells in zip(rows, shown, strict=True):
        table.add_row(row.point.id, *(cells.get(heading, NOTHING) for heading in headings), outcome_text(row))
    return table


def shown_cells(row: Row) -> dict[str, str]:
    """The columns that the audit or eval shows, by heading; empty for other points."""
    detail = None if row.summary is None else row.summary.detail
    if isinstance(detail, EvalDetail | CommandDetail | TablesDetail):
        return dict(detail.shown)
    return dict(detail.result.shown) if isinstance(detail, AuditDetail) and detail.result else {}


def _table(title: str, headings: Iterable[str]) -> Table:
    table = _empty(title, "point")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(_OUTCOME, no_wrap=True)
    return table


def _empty(title: str, first: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(first, no_wrap=True)
    return table


def _cells(rows: Sequence[Row], column: _Column) -> list[str]:
    """The texts of a column. Of a sweep, the best and the worst point are marked; an error is neither."""
    texts = [_cell(row, column) for row in rows]
    compared = {
        row.point.id: row.summary.measurement
        for row, text in zip(rows, texts, strict=True)
        if text != NOTHING
        and row.summary
        and row.summary.measurement
        and row.point.outcome is not Outcome.ERROR
    }
    marks = extremes(compared, column.metrics[-1]) if column.compared else {}
    # In front, where a mark does not move the numbers of a column that is aligned to the right.
    return [
        f"{marks[row.point.id]} {text}" if row.point.id in marks else text
        for row, text in zip(rows, texts, strict=True)
    ]


def _cell(row: Row, column: _Column) -> str:
    measurement = row.summary.measurement if row.summary else None
    if measurement is None or _stem(column.metrics[0]) in _superseded(row.point):
        return NOTHING
    names = [name for name in column.metrics if _stem(name) in measurement.metrics]
    if not names:
        return NOTHING
    unit = measurement.unit(names[0])
    text = together([measurement.value(name) for name in names], unit)
    uncertain = [
        uncertainty
        for name in names
        if (value := measurement.value(name)) is not None
        and (uncertainty := measurement.uncertainty(name)) > SHOWN_UNCERTAINTY * abs(value)
    ]
    return f"{text} ±{together([max(uncertain)], unit)}" if uncertain else text


def _superseded(point: PointVerdict) -> Iterator[str]:
    """Latencies that are left out: the form, from the scheduled time or from the issue, that was not judged. None of a
    point whose load was held back, because the two forms differ."""
    if Label.HELD_BACK in point.labels:
        return
    judged = {_stem(item.bound.metric) for item in point.bounds}
    for sent, scheduled in SCHEDULED.items():
        yield sent if scheduled in judged else scheduled


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _kind(point: PointVerdict) -> str:
    _, slash, rest = point.id.partition("/")
    return rest.partition("/")[0] if slash else "point"


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def listing(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of texts. The first and last column are aligned left, the others right."""
    table = _empty(title, headings[0])
    for heading in headings[1:-1]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(headings[-1], no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def side_by_side(title: str, measurements: Mapping[str, Measurement | None], metrics: Sequence[str]) -> Table:
    """A table of `metrics` with one column per measurement."""
    table = _empty(title, "metric")
    for name in measurements:
        table.add_column(name, justify="right", no_wrap=True)
    for metric in metrics:
        table.add_row(
            metric,
            *(
                NOTHING if item is None else quantity(item.value(metric), item.unit(metric))
                for item in measurements.values()
            ),
        )
    return table
