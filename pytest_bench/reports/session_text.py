"""The text of a session's summary: its tables, what is red and why, and the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from pytest_bench.reports.tables import Row, render, tables
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import Verdict
from pytest_bench.wording import first_of, printable

_SENTENCES = {
    "pass": "every selected point passed",
    "fail": "at least one bound or rule was not met",
    "inconclusive": "an interval spans its bound",
    "error": "something could not be measured or is not trustworthy",
    "incomplete": "at least one point is missing",
}
_NAMES_SHOWN = 4
_NO_END = frozenset({"cut-off", "worker-crashed"})
"""Reason codes of points that began and did not finish."""


def table_lines(rows: Sequence[Row], *, colour: bool, width: int | None) -> Iterator[str]:
    """The tables of all kinds of point, each followed by an empty line."""
    for table in tables(rows):
        yield from render(table, colour=colour, width=width)
        yield ""


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """Explanations of labels, and notes: one line for each text, with the points that it applies to.

    Red points show their reasons instead of an explanation (`problems`).
    """
    alike: dict[str, list[str]] = {}
    for point, summary in rows:
        if summary is None:
            continue
        explanation = summary.detail.explanation if point.outcome is Outcome.PASS else ""
        for text in filter(None, (explanation, summary.detail.note)):
            alike.setdefault(printable(text), []).append(point.id)
    yield from (f"{first_of(ids, _NAMES_SHOWN)}: {text}" for text, ids in alike.items())


def problems(verdict: Verdict) -> Iterator[str]:
    """What is red and why, the worst first. Points with the same reason are named together."""
    for fault in verdict.faults:
        yield f"session: {_shortened(fault.sentence)}"
    alike: dict[tuple[Outcome, str], list[str]] = {}
    for point in sorted(verdict.points, key=lambda item: -item.outcome.severity):
        if point.outcome is not Outcome.PASS:
            why = _shortened(point.reasons[0].sentence) if point.reasons else "no reason was given"
            more = f" (and {len(point.reasons) - 1} more)" if len(point.reasons) > 1 else ""
            alike.setdefault((point.outcome, why + more), []).append(point.id)
    for (outcome, why), ids in alike.items():
        yield f"{first_of(ids, _NAMES_SHOWN)}: {outcome}: {why}"


def wrapped(lines: Iterable[str], width: int | None) -> Iterator[str]:
    """Break `lines` between words to fit `width` columns, and indent what follows a break. None: as they are."""
    for line in lines:
        if width is None or len(line) <= width:
            yield line
        else:
            yield from textwrap.wrap(
                line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )


def conclusion(verdict: Verdict) -> str:
    """The meaning of the verdict's status, and which points it covers."""
    return f"{_SENTENCES[verdict.status]}; {_coverage(verdict)}"


def _shortened(text: str) -> str:
    """Return the first and last line, which for a traceback say what failed and why."""
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return " ... ".join(lines[:1] + lines[1:][-1:])


def _coverage(verdict: Verdict) -> str:
    """Say how many declared points were selected, and how many of those finished if not all did."""
    left_out = verdict.coverage.left_out
    limited = verdict.coverage.limited or ()
    missed = [f"your selection left out {len(left_out)} ({first_of(left_out, _NAMES_SHOWN)})"] * bool(
        left_out
    )
    missed += [f"{len(limited)} evals asked a part of their items"] * bool(limited)
    partial = f"coverage PARTIAL: {', and '.join(missed)}"
    selected = [point for point in verdict.points if point.id not in left_out]
    ended = sum(
        point.outcome is not Outcome.MISSING and _NO_END.isdisjoint(reason.code for reason in point.reasons)
        for point in selected
    )
    if not selected and not left_out:
        return "no point was selected"
    if ended == len(selected):
        return partial if missed else "coverage complete"
    ran = f"{ended} of {len(selected)} selected points finished"
    return f"{partial}; {ran}" if missed else ran
