"""The terminal summary of a session: a table per kind of point, what is red and why, and the verdict."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_bench.errors import BenchError
from pytest_bench.plugin.session import Session
from pytest_bench.reports.tables import Row, render, tables
from pytest_bench.results.layout import CHECKPOINT, POINTS, VERDICT
from pytest_bench.results.resuming import resume_command
from pytest_bench.results.settle import Settled
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.verdict.events import Report, WorkerCrashed
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import PointVerdict, Verdict
from pytest_bench.wording import printable

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


def count_missing(reporter: pytest.TerminalReporter, settled: Settled) -> None:
    """Add points without a report to pytest's counters: "1 passed, 1 missing"."""
    reported = {event.point for event in settled.events if isinstance(event, Report | WorkerCrashed)}
    missing = [
        point
        for point in settled.verdict.points
        if point.outcome is not Outcome.PASS and point.id not in reported
    ]
    if missing:
        reporter._add_stats("missing", missing)  # noqa: SLF001 # pytest has no public API for a new category


def write_summary(reporter: pytest.TerminalReporter, session: Session, settled: Settled) -> None:
    """Write the summary of a session."""
    verdict = settled.verdict
    reporter.section("inference bench")
    rows = [Row(point, _summary(session, point)) for point in verdict.points]
    width = shutil.get_terminal_size().columns if reporter.isatty else None
    for table in tables(rows):
        for line in render(table, colour=reporter.hasmarkup, width=width):
            reporter.write_line(line)
        reporter.write_line("")
    for row in rows:
        detail = row.summary.detail if row.summary else {}
        if (
            detail.get("explanation") and row.point.outcome is Outcome.PASS
        ):  # red points show their reasons below
            reporter.write_line(f"{row.point.id}: {printable(str(detail['explanation']))}")
        if "note" in detail:
            reporter.write_line(f"{row.point.id}: {printable(str(detail['note']))}")
    _write_problems(reporter, verdict)
    good = verdict.status == "pass"
    reporter.write("verdict: ")
    reporter.write(verdict.status, bold=True, green=good, red=not good)
    reporter.write_line(f" - {_SENTENCES[verdict.status]}; {_coverage(verdict)}")
    if _can_be_resumed(session, verdict):
        words = settled.called.invocation.command_line
        command = resume_command(words, session.results, Path(session.root_path))
        reporter.write_line(f"resume: {command}")
    reporter.write_line(
        f"evidence: {os.path.relpath(session.results)} ({VERDICT} and {_junit(settled)} say the same)"
    )


def _can_be_resumed(session: Session, verdict: Verdict) -> bool:
    """Whether an eval of the session has a checkpoint and is not finished."""
    unfinished = {point.id for point in verdict.points if point.outcome in {Outcome.ERROR, Outcome.MISSING}}
    return any(point.kind == "eval" and point.id in unfinished for point in session.plan.points) and any(
        (session.results / POINTS).rglob(CHECKPOINT)
    )


def _junit(settled: Settled) -> str:
    """Return the JUnit file's path: relative to the results folder, or to the working directory if outside of it."""
    path = settled.called.junit
    return os.path.relpath(path) if Path(path).is_absolute() else path


def _write_problems(reporter: pytest.TerminalReporter, verdict: Verdict) -> None:
    for fault in verdict.faults:
        reporter.write_line(f"session: {_shortened(fault.sentence)}", red=True)
    alike: dict[tuple[Outcome, str], list[str]] = {}
    for point in sorted(verdict.points, key=lambda item: -item.outcome.severity):
        if point.outcome is not Outcome.PASS:
            why = _shortened(point.reasons[0].sentence) if point.reasons else "no reason was given"
            more = f" (and {len(point.reasons) - 1} more)" if len(point.reasons) > 1 else ""
            alike.setdefault((point.outcome, why + more), []).append(point.id)
    for (outcome, why), ids in alike.items():
        reporter.write_line(f"{_named(ids)}: {outcome}: {why}", red=True)


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMES_SHOWN} more" if len(ids) > _NAMES_SHOWN else ""
    return ", ".join(ids[:_NAMES_SHOWN]) + more


def _shortened(text: str) -> str:
    """Return the first and last line, which for a traceback say what failed and why."""
    lines = [printable(line.strip()) for line in text.splitlines() if line.strip()]
    return " ... ".join(lines[:1] + lines[1:][-1:])


def _summary(session: Session, point: PointVerdict) -> Summary | None:
    try:
        return read_summary(session.point_folder(point.id))
    except BenchError:
        return None  # the verdict's reasons say what is wrong with the evidence


def _coverage(verdict: Verdict) -> str:
    """Say how many declared points were selected, and how many of those finished if not all did."""
    left_out = verdict.coverage.left_out
    partial = f"coverage PARTIAL: your selection left out {len(left_out)} ({_named(left_out)})"
    selected = [point for point in verdict.points if point.id not in left_out]
    ended = sum(
        point.outcome is not Outcome.MISSING and _NO_END.isdisjoint(reason.code for reason in point.reasons)
        for point in selected
    )
    if not selected and not left_out:
        return "no point was selected"
    if ended == len(selected):
        return partial if left_out else "coverage complete"
    ran = f"{ended} of {len(selected)} selected points finished"
    return f"{partial}; {ran}" if left_out else ran
