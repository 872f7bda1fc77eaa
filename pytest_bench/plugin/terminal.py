"""What a session shows at its end: one table a kind, the verdict in a sentence, what is red, where it all is."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytest_bench.errors import BenchError
from pytest_bench.plugin.session import VERDICT, Session
from pytest_bench.running.summary import Summary, read_summary
from pytest_bench.verdict.judge import show
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import PointVerdict, Verdict

_COLUMNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("req/s", ("request_throughput",)),
    ("out tok/s", ("output_token_throughput",)),
    ("TTFT p50/p90/p99", ("time_to_first_token.p50", "time_to_first_token.p90", "time_to_first_token.p99")),
    ("TPOT p50/p99", ("time_per_output_token.p50", "time_per_output_token.p99")),
    ("latency p99", ("request_latency.p99",)),
    ("goodput", ("goodput",)),
)
_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ERROR: "bold red",
    Outcome.MISSING: "bold red",
}
_SENTENCES = {
    "pass": "every selected point passed",
    "fail": "measured, and not good enough",
    "inconclusive": "measured, and not decided",
    "error": "something could not be measured or trusted",
    "incomplete": "something is missing",
}
_WIDEST = 140


class TerminalSummary:
    """The end of a session on the terminal."""

    def __init__(self, config: pytest.Config, session: Session, verdict: Verdict) -> None:
        self._config = config
        self._session = session
        self._verdict = verdict

    def write(self, reporter: pytest.TerminalReporter) -> None:
        reporter.section("inference bench")
        for table in self._tables():
            self._print(reporter, table)
        self._verdict_lines(reporter)

    def _tables(self) -> Iterable[Table]:
        by_kind: dict[str, list[PointVerdict]] = {}
        for point in self._verdict.points:
            by_kind.setdefault(point.id.split("/")[1] if "/" in point.id else "?", []).append(point)
        for kind, points in by_kind.items():
            yield self._table(kind, points)

    def _table(self, kind: str, points: list[PointVerdict]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, title=kind, title_justify="left", pad_edge=False)
        table.add_column("point", no_wrap=True)
        for name in ("requests", "failed", *(name for name, _ in _COLUMNS), "bounds"):
            table.add_column(name, justify="right")
        table.add_column("outcome", no_wrap=True)
        for point in points:
            summary = self._summary(point)
            met = sum(judged.state == "met" for judged in point.bounds)
            labels = f" ({', '.join(point.labels)})" if point.labels else ""
            table.add_row(
                point.id,
                *_numbers(summary),
                f"{met}/{len(point.bounds)}" if point.bounds else "-",
                Text(point.outcome.value + labels, style=_COLOURS[point.outcome]),
            )
        return table

    def _summary(self, point: PointVerdict) -> Summary | None:
        try:
            return read_summary(self._session.results / "points" / point.id)
        except BenchError:
            return None  # the verdict's own reasons say what is wrong with the evidence

    def _verdict_lines(self, reporter: pytest.TerminalReporter) -> None:
        verdict = self._verdict
        for fault in verdict.faults:
            reporter.write_line(f"session: {printable(fault.sentence)}", red=True)
        for point in sorted(verdict.points, key=lambda item: -item.outcome.severity):
            if point.outcome is not Outcome.PASS:
                why = point.reasons[0].sentence if point.reasons else "no reason was given"
                more = f" (and {len(point.reasons) - 1} more)" if len(point.reasons) > 1 else ""
                reporter.write_line(f"{point.id}: {point.outcome}: {printable(why)}{more}", red=True)
        good = verdict.status == "pass"
        reporter.write_line("")
        reporter.write("verdict: ")
        reporter.write(verdict.status, bold=True, green=good, red=not good)
        reporter.write_line(f" - {_SENTENCES[verdict.status]}; {self._coverage()}")
        results = os.path.relpath(self._session.results)
        reporter.write_line(f"results: {results}")
        reporter.write_line(f"verdict file: {results}/{VERDICT}")

    def _coverage(self) -> str:
        left_out = self._verdict.coverage.left_out
        if not left_out:
            return "coverage complete"
        shown = ", ".join(left_out[:4]) + (f" and {len(left_out) - 4} more" if len(left_out) > 4 else "")
        return f"coverage PARTIAL: your selection left out {len(left_out)} ({shown})"

    def _print(self, reporter: pytest.TerminalReporter, table: Table) -> None:
        console = Console(
            width=_WIDEST,
            force_terminal=reporter.hasmarkup,
            no_color=not reporter.hasmarkup,
            highlight=False,
            emoji=False,
            markup=False,
        )
        with console.capture() as capture:
            console.print(table)
        for line in capture.get().splitlines():
            reporter.write_line(line.rstrip())


def printable(text: str) -> str:
    """`text` without control characters: what a server or a model wrote never steers a terminal."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _numbers(summary: Summary | None) -> list[str]:
    measurement = summary.measurement if summary else None
    if measurement is None:
        return ["-"] * (2 + len(_COLUMNS))
    cells = [str(measurement.issued), str(measurement.failed)]
    for _, names in _COLUMNS:
        known = [measurement.value(name) for name in names if name.partition(".")[0] in measurement.metrics]
        units = [measurement.unit(name) for name in names if name.partition(".")[0] in measurement.metrics]
        if not known or all(value is None for value in known):
            cells.append("-")
        else:
            cells.append(_together([(value, unit) for value, unit in zip(known, units, strict=True)]))
    return cells


def _together(values: list[tuple[float | None, str]]) -> str:
    """Several values of one unit as `1.2/3.4/5.6 ms`."""
    shown = [None if value is None else show(value, unit) for value, unit in values]
    split = [("-", "") if text is None else tuple(text.split(" ", 1)) for text in shown]
    units = {part[1] for part in split if len(part) == 2 and part[1]}
    if values[0][1] == "ns" and len(units) == 1:
        return "/".join(part[0] for part in split) + f" {units.pop()}"
    if values[0][1] == "ns":
        return "/".join(text or "-" for text in shown)
    return "/".join(part[0] for part in split)
