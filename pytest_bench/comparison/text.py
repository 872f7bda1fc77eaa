"""A comparison as text: tables of 80 columns, Markdown, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from pytest_bench.comparison.changes import Change, changes, environment, suites
from pytest_bench.comparison.judging import change_text
from pytest_bench.comparison.result import Comparison, Difference, Judged
from pytest_bench.comparison.values import Side
from pytest_bench.files import readable_json
from pytest_bench.reports.exports import markdown_table
from pytest_bench.reports.tables import NOTHING, listing, quantity, render
from pytest_bench.wording import one_line, printable

WIDTH = 80
HEADINGS = ("", "baseline", "candidate", "change", "95 % interval", "")
_LONGEST_VALUE = 30
_METHODS = {
    "pairs": "intervals from {0} pairs of sessions",
    "groups": "intervals from {0} and {1} sessions",
    "blocks": "intervals within one session each: how sessions differ is not in them",
    "shares": "intervals of shares from the requests of all sessions",
    "items": "intervals of scores from items, paired",
}


def comparison_tables(comparison: Comparison) -> Iterator[Table]:
    """One table for each point."""
    for point in dict.fromkeys(difference.point for difference in comparison.differences):
        own = [difference for difference in comparison.differences if difference.point == point]
        yield listing(point, HEADINGS, [cells(difference) for difference in own])


def cells(difference: Difference) -> tuple[str, ...]:
    """One row of a table."""
    unit = "" if difference.relative else difference.unit
    last: list[str] = [difference.mark] if difference.mark else []
    if difference.flips is not None:
        last.append(f"{difference.flips[0]} won, {difference.flips[1]} lost")
    if difference.incomparable:
        last.append("NOT COMPARABLE")
    return (
        difference.metric,
        quantity(difference.baseline, difference.unit),
        quantity(difference.candidate, difference.unit),
        change_text(difference.change, unit),
        interval_text(difference),
        ", ".join(last),
    )


def interval_text(difference: Difference) -> str:
    """The interval of the change, `-` if there is none."""
    if difference.low is None or difference.high is None:
        return NOTHING
    unit = "" if difference.relative else difference.unit
    low, high = (change_text(end, unit) for end in (difference.low, difference.high))
    return f"{low.removesuffix(' %')} to {high}" if high.endswith(" %") else f"{low} to {high}"


def notes(comparison: Comparison) -> Iterator[str]:
    """How the intervals were made, and why some are missing."""
    for method in dict.fromkeys(one.method for one in comparison.differences if one.method):
        yield _METHODS[method].format(*comparison.sessions)
    reasons: dict[str, list[str]] = {}
    for one in comparison.differences:
        if one.reason:
            reasons.setdefault(one.reason, []).append(one.metric)
    for reason, metrics in reasons.items():
        yield f"no interval of {', '.join(dict.fromkeys(metrics))}: {printable(reason)}"


def incomparable(comparison: Comparison) -> Iterator[str]:
    """Why points that were compared all the same are not comparable."""
    seen = {one.point: one.incomparable for one in comparison.differences if one.incomparable}
    for point, reasons in seen.items():
        yield f"NOT COMPARABLE: {point}: {printable('; '.join(reasons))}"


def judged_line(judged: Judged) -> str:
    """The answer to a condition on a point."""
    marked = "NOT COMPARABLE: " if judged.incomparable else ""
    return f"{marked}{judged.point}: {judged.condition}: {judged.answer}: {printable(judged.sentence)}"


def changed(baseline: Side, candidate: Side) -> tuple[list[Change], list[Change]]:
    """What differs between the suites, and between the environments, of any two of the sessions."""
    sessions = [*baseline.sessions, *candidate.sessions]
    count = len(baseline.sessions)

    def by_side(found: Sequence[Change]) -> list[Change]:
        return [
            Change(
                change.name,
                tuple(
                    " | ".join(dict.fromkeys(values))
                    for values in (change.values[:count], change.values[count:])
                ),
            )
            for change in found
        ]

    return (
        by_side(changes([suites(session) for session in sessions])),
        by_side(changes([environment(session) for session in sessions])),
    )


def change_lines(found: tuple[list[Change], list[Change]]) -> Iterator[str]:
    """What differs, one line each."""
    for what, own in zip(("suites", "environments"), found, strict=True):
        yield f"the {what} differ in:" if own else f"the {what} do not differ"
        for change in own:
            before, after = (one_line(value, _LONGEST_VALUE) for value in change.values)
            yield f"  {printable(change.name)}: {before} -> {after}"


def plain_text(
    comparison: Comparison, found: tuple[list[Change], list[Change]], *, colour: bool = False
) -> str:
    """The tables, notes, differences of suites and environments, and the answers."""
    lines = []
    for table in comparison_tables(comparison):
        lines += [*render(table, colour=colour, width=WIDTH), ""]
    lines += [*incomparable(comparison), *notes(comparison), *change_lines(found)]
    lines += map(judged_line, comparison.judged)
    return "\n".join(lines) + "\n"


def markdown_text(comparison: Comparison, found: tuple[list[Change], list[Change]]) -> str:
    """The same as Markdown."""
    tables = ["\n".join(markdown_table(table)) for table in comparison_tables(comparison)]
    lines = [
        *incomparable(comparison),
        *notes(comparison),
        *change_lines(found),
        *map(judged_line, comparison.judged),
    ]
    return "\n\n".join([*tables, "\n".join(f"- {line.strip()}" for line in lines)]) + "\n"


def json_text(comparison: Comparison, found: tuple[list[Change], list[Change]]) -> str:
    """All numbers as JSON, with what differs."""
    suite_changes, environment_changes = (
        [{"name": change.name, "values": change.values} for change in own] for own in found
    )
    return readable_json(
        {"comparison": comparison, "suites": suite_changes, "environments": environment_changes}
    ).decode()
