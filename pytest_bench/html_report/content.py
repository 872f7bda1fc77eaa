"""The content of the page: sections of one or several sessions, as texts, tables and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.text import Text

from pytest_bench.comparison import text
from pytest_bench.comparison.compare import Wanted, compare
from pytest_bench.comparison.sessions import Session
from pytest_bench.comparison.values import Side
from pytest_bench.evals.checkpoint_samples import eval_of
from pytest_bench.evals.measure import EvalMetrics
from pytest_bench.html_report import plots
from pytest_bench.html_report.plots import Plot
from pytest_bench.html_report.requests import (
    Bins,
    distributions,
    drawn_latencies,
    observe,
    server_series,
    shorter,
    time_line,
)
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.names import is_score_name
from pytest_bench.records import PhaseResult
from pytest_bench.reports.tables import quantity, tables
from pytest_bench.results.details import AuditDetail, EvalDetail
from pytest_bench.results.summary import Summary
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.verdict import PointVerdict

_SHOWN = ("mean", "p50", "p90", "p95", "p99", "p99.9", "max")


class Table(NamedTuple):
    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    """The first cell names the row; the others are numbers or short texts."""


class PointPart(NamedTuple):
    """What one session says about a point."""

    session: Session
    verdict: PointVerdict
    summary: Summary | None
    percentiles: Table | None
    undefined: list[str]
    """Which latencies are null, and why."""


class PointSection(NamedTuple):
    """A point in every session that planned it."""

    id: str
    parts: list[PointPart]
    distributions: list[Plot]
    time_lines: list[Plot]


def summary_tables(session: Session) -> Iterator[Table]:
    """The tables of the terminal, with the outcome beside the point."""
    for table in tables(session.rows):
        first, *others, outcome = table.columns
        ordered = (first, outcome, *others)
        columns = [[_plain(cell) for cell in column.cells] for column in ordered]
        yield Table(
            f"{table.title} ({table.caption})" if table.caption else str(table.title),
            tuple(str(column.header).replace("\n", " ") for column in ordered),
            list(zip(*columns, strict=True)),
        )


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


class Differences(NamedTuple):
    """How a session differs from the first one of the page."""

    title: str
    tables: list[Table]
    notes: list[str]


def differences(
    sessions: Sequence[Session], scratch: Path, scorings: Scorings = SCORINGS
) -> Iterator[Differences]:
    """How the points of every later session differ from those of the first, also where a point did not pass."""
    baseline = Side(sessions[0].name, (sessions[0],))
    wanted = Wanted(lenient=True, incomparable=True, scorings=scorings)
    for session in sessions[1:]:
        found = compare(baseline, Side(session.name, (session,)), wanted, scratch)
        points = dict.fromkeys(one.point for one in found.differences)
        yield Differences(
            f"{found.candidate} against {found.baseline}",
            [
                Table(
                    point, text.HEADINGS, [text.cells(one) for one in found.differences if one.point == point]
                )
                for point in points
            ],
            [*text.incomparable(found), *text.notes(found), *found.problems],
        )


def point_sections(sessions: Sequence[Session], scratch: Path) -> Iterator[PointSection]:
    """Every point of any session, in the order of the plans. Raises `EvidenceError` for damaged files."""
    for point_id in dict.fromkeys(row.point.id for session in sessions for row in session.rows):
        parts = [
            PointPart(session, row.point, row.summary, *_latencies(session.plan.point(point_id), row.summary))
            for session in sessions
            for row in session.rows
            if row.point.id == point_id
        ]
        yield PointSection(point_id, parts, *_point_plots(point_id, parts, scratch))


def _latencies(point: Point, summary: Summary | None) -> tuple[Table | None, list[str]]:
    """The percentiles of the point's latencies, and which are null and why."""
    measurement = summary.measurement if summary else None
    if measurement is None or point.kind != "perf":
        return None, []
    rows, undefined = [], []
    for name in dict.fromkeys([*drawn_latencies(point), "inter_token_latency"]):
        metric = measurement.metrics[name]
        if metric.reason is not None:
            undefined.append(f"{name} is null: {metric.reason}")
        else:
            values = (_with_uncertainty(measurement, f"{name}.{statistic}") for statistic in _SHOWN)
            rows.append((name, str(metric.count), *values))
    return Table("latencies", ("", "values", *_SHOWN), rows) if rows else None, undefined


def _with_uncertainty(measurement: Measurement, name: str) -> str:
    unit, uncertainty = measurement.unit(name), measurement.known_uncertainty(name)
    value = quantity(measurement.value(name), unit)
    return f"{value} ± {quantity(uncertainty, unit)}" if uncertainty and value != "-" else value


def _point_plots(point_id: str, parts: Sequence[PointPart], scratch: Path) -> tuple[list[Plot], list[Plot]]:
    """Distributions, and time lines."""
    several = len(parts) > 1
    shares: dict[str, list[dict[str, Any]]] = {}
    bins: list[tuple[str, Bins]] = []
    server: list[dict[str, Any]] = []
    for session, _, summary, *_ in parts:
        point = session.plan.point(point_id)
        if summary is None or summary.measurement is None or point.kind != "perf":
            continue  # logs of phases that were cut off cannot be read
        seen = [observe(session, point, phase, scratch) for phase in summary.phases]
        for name, rows in distributions(point, seen[-1]):
            shares.setdefault(name, []).extend({"session": session.name, **row} for row in rows)
        if (line := time_line(seen)) is not None:
            bins.append((session.name, line))
        server += ({"session": session.name, **row} for row in server_series(session, point, summary))
    over_time = list(_time_lines(bins, several=several)) if bins else []
    if server:
        caption = "What the servers report about themselves."
        over_time.append(plots.lines_over_time(server, "series", "value", caption, several=several))
    return [plots.distribution(rows, name, several=several) for name, rows in shares.items()], over_time


def _time_lines(bins: Sequence[tuple[str, Bins]], *, several: bool) -> Iterator[Plot]:
    rows = [{"session": name, **row} for name, line in bins for row in line.rows]
    span = (min(line.rows[0]["t"] for _, line in bins), max(line.rows[-1]["t"] for _, line in bins))
    width = " and ".join(dict.fromkeys(f"{line.width_s:g} s" for _, line in bins))
    yield plots.over_time(
        rows,
        "in_flight",
        "in flight",
        f"Requests in flight, as means of {width}. Times below 0 are the warm-up.",
        span,
        several=several,
    )
    yield plots.over_time(
        rows,
        "completed",
        "requests/s",
        f"Requests that succeeded per second, in bins of {width}.",
        span,
        several=several,
    )
    if any(row["failed"] for row in rows):
        yield plots.over_time(
            rows,
            "failed",
            "failures/s",
            f"Requests that failed per second, in bins of {width}.",
            span,
            several=several,
        )
    latency = bins[0][1].latency
    waits = [
        {"session": row["session"], "t": row["t"], "of the bin": name, "value": row[field]}
        for row in rows
        for name, field in (("median", "median_ms"), ("largest", "largest_ms"))
        if row[field]
    ]
    if waits:
        yield plots.lines_over_time(
            waits,
            "of the bin",
            f"{latency} in ms",
            f"{latency} by the time of sending: median and largest of bins of {width}.",
            span,
            several=several,
        )


def sweep_plots(sessions: Sequence[Session]) -> Iterator[Plot]:
    """Throughput against interactivity, and TTFT against throughput, over all performance points with tokens."""
    rows: list[dict[str, Any]] = []
    for session in sessions:
        for point, _, summary in session.measured():
            measurement = summary.measurement
            if point.kind != "perf" or measurement is None:
                continue
            step = next(iter(point.sweep.values()), None)
            values = {
                "throughput": _value(measurement, "output_token_throughput"),
                "interactivity": _value(measurement, "output_token_throughput_per_user.p50"),
                "ttft": _value(measurement, f"{next(iter(drawn_latencies(point)))}.p50", 1e-6),
            }
            rows.append(
                {
                    "session": session.name,
                    "sweep": eval_of(point),
                    "point": point.id,
                    "label": " ".join(f"{value}" for value in point.sweep.values()),
                    "step": step if isinstance(step, int | float) else len(rows),
                    **values,
                }
            )
    several = len(sessions) > 1
    pareto = [row for row in rows if row["throughput"] is not None and row["interactivity"] is not None]
    if pareto:
        yield plots.sweep(
            pareto,
            "interactivity",
            "throughput",
            ("output tokens/s of one user (median)", "output tokens/s of the system"),
            "Throughput against interactivity: the upper right is better. Labels are the values of the sweep.",
            several=several,
        )
    waits = [row for row in rows if row["throughput"] is not None and row["ttft"] is not None]
    if waits:
        yield plots.sweep(
            waits,
            "throughput",
            "ttft",
            ("output tokens/s of the system", "TTFT in ms (median)"),
            "Time to first token against throughput: the lower right is better.",
            several=several,
        )


def _value(measurement: Measurement, name: str, factor: float = 1.0) -> float | None:
    if name.partition(".")[0] not in measurement.metrics:
        return None
    value = measurement.value(name)
    return None if value is None else shorter(value * factor)


def audit_plots(sessions: Sequence[Session]) -> Iterator[Plot]:
    """The rates that audits compare, side by side."""
    rows = [
        {
            "audit": f"{point.id} ({session.name})" if len(sessions) > 1 else point.id,
            "phase": name.removesuffix("_request_throughput"),
            "rate": shorter(metric.value),
        }
        for session in sessions
        for point, _, summary in session.measured()
        if isinstance(summary.detail, AuditDetail) and summary.measurement is not None
        for name, metric in summary.measurement.metrics.items()
        if metric.unit == "requests/s" and metric.value is not None
    ]
    if rows:
        yield plots.rates(rows)


def eval_plots(sessions: Sequence[Session]) -> Iterator[tuple[str, Plot]]:
    """For each eval its scores across concurrencies."""
    by_eval: dict[str, list[dict[str, Any]]] = {}
    for session in sessions:
        for point, _, summary in session.measured():
            if isinstance(summary.detail, EvalDetail):
                found = _scores(session, point, summary.detail)
            elif point.kind == "eval" and summary.measurement is not None:
                found = _measured_scores(session, point, summary.measurement)
            else:
                continue
            by_eval.setdefault(eval_of(point), []).extend(found)
    for name, rows in by_eval.items():
        if rows:
            yield name, plots.scores(rows, several=len(sessions) > 1)


def _scores(session: Session, point: Point, detail: EvalDetail) -> Iterator[dict[str, Any]]:
    for name, scoring in msgspec.convert(detail.metrics, EvalMetrics).scorings.items():
        estimate = scoring.estimate
        if estimate is not None:
            low, high = estimate.interval or (estimate.value, estimate.value)
            yield _score(session, point, name, estimate.value, low, high)


def _measured_scores(session: Session, point: Point, measurement: Measurement) -> Iterator[dict[str, Any]]:
    """Scores of an eval that another tool ran, whose files hold no intervals."""
    for name, metric in measurement.metrics.items():
        if is_score_name(name) and metric.value is not None:
            yield _score(session, point, name, metric.value, metric.value, metric.value)


def _score(
    session: Session, point: Point, metric: str, value: float, low: float, high: float
) -> dict[str, Any]:
    concurrency = None if point.load is None else point.load.concurrency
    return {
        "session": session.name,
        "metric": metric,
        "series": f"{metric} {session.name}",
        "concurrency": "-" if concurrency is None else str(concurrency),
        "score": shorter(value),
        "low": shorter(low),
        "high": shorter(high),
    }


def health_table(session: Session) -> Table:
    """The client's health in every phase, each value beside its budget."""
    rows = []
    for point, _, summary in session.measured():
        rows += [(f"{point.id} {phase.label}", *_health(point, phase)) for phase in summary.phases]
    return Table(
        "client health",
        (
            "phase",
            "workers",
            "missing concurrency",
            "the same, p99 of seconds",
            "lateness p99",
            "CPU",
            "CPU p99",
            "pace p1",
        ),
        rows,
    )


def violations(session: Session) -> Iterator[str]:
    """A sentence for each budget that a phase exceeds."""
    for point, _, summary in session.measured():
        for phase in summary.phases:
            yield from (
                f"{point.id}, phase {phase.label}: {sentence}" for sentence in phase.health.violations
            )


def _health(point: Point, phase: PhaseResult) -> Iterator[str]:
    health, budget = phase.health, point.budget
    lateness = None if health.schedule_lateness_ms is None else health.schedule_lateness_ms.p99
    yield str(health.workers)
    yield _beside(health.vacancy, budget.vacancy, "≤", percent=True)
    yield _beside(health.vacancy_p99, max(budget.vacancy, budget.vacancy_p99), "≤", percent=True)
    yield _beside(lateness, budget.schedule_lateness_ms, "≤")
    yield _beside(health.cpu_share, budget.cpu_share, "≤", percent=True)
    yield _beside(health.cpu_share_p99, budget.cpu_share, "≤", percent=True)
    yield _beside(health.achieved_share_p1, budget.achieved_share, "≥", percent=True)


def _beside(value: float | None, limit: float, sign: str, *, percent: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:.1%} ({sign} {limit:.0%})" if percent else f"{value:.2f} ms ({sign} {limit:g} ms)"
