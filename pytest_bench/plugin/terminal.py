"""The terminal summary of a session: a table per kind of point, what is red and why, and the verdict."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pytest_bench.plugin.options import VLLM
from pytest_bench.plugin.session import Session
from pytest_bench.reports.next_command import next_command
from pytest_bench.reports.rows import read_rows
from pytest_bench.reports.session_text import conclusion, notes, problems, table_lines, wrapped
from pytest_bench.reports.vllm_block import vllm_blocks
from pytest_bench.results.layout import CHECKPOINT, POINTS, VERDICT
from pytest_bench.results.resuming import resume_command
from pytest_bench.results.settle import Settled
from pytest_bench.verdict.events import Report, WorkerCrashed
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import Verdict


def count_missing(reporter: pytest.TerminalReporter, settled: Settled) -> None:
    """Add points without a report to pytest's counters: "1 passed, 1 missing"."""
    reported = {event.point for event in settled.events if isinstance(event, Report | WorkerCrashed)}
    # Plugins of others read the counters, and expect reports in them.
    missing = [
        pytest.TestReport(point.id, (point.id, None, point.id), {}, "failed", None, "call")
        for point in settled.verdict.points
        if point.outcome is not Outcome.PASS and point.id not in reported
    ]
    if missing:
        reporter._add_stats("missing", missing)  # noqa: SLF001 # pytest has no public API for a new category


def write_summary(reporter: pytest.TerminalReporter, session: Session, settled: Settled) -> None:
    """Write the summary of a session."""
    verdict = settled.verdict
    reporter.section("inference bench")
    rows = read_rows(session.results, verdict)
    width = shutil.get_terminal_size().columns if reporter.isatty else None
    for line in (*table_lines(rows, colour=reporter.hasmarkup, width=width), *wrapped(notes(rows), width)):
        reporter.write_line(line)
    if reporter.config.option.summary == VLLM:
        for line in vllm_blocks(rows):
            reporter.write_line(line)
    for line in wrapped(problems(verdict), width):
        reporter.write_line(line, red=True)
    good = verdict.status == "pass"
    reporter.write("verdict: ")
    reporter.write(verdict.status, bold=True, green=good, red=not good)
    reporter.write_line(f" - {conclusion(verdict)}")
    if _can_be_resumed(session, verdict):
        words = settled.called.invocation.command_line
        command = resume_command(words, session.results, Path(session.root_path))
        reporter.write_line(f"resume: {command}")
    reporter.write_line(
        f"evidence: {os.path.relpath(session.results)} ({VERDICT} and {_junit(settled)} say the same)"
    )
    plugins = _contributors(reporter.config, Path(session.root_path))
    more = next_command(verdict, rows, os.path.relpath(session.results), plugins=plugins)
    reporter.write_line(f"more: {more}")


def _contributors(config: pytest.Config, root: Path) -> list[str]:
    """What a command must load with `-p`: each conftest.py that registers APIs, audits or scorers, and each plugin that
    does and was named with -p. Those of installed plugins are found without."""
    hooks = config.hook
    callers = (hooks.pytest_bench_apis, hooks.pytest_bench_audits, hooks.pytest_bench_scorers)
    plugins = [found.plugin for caller in callers for found in caller.get_hookimpls()]
    files = [str(getattr(plugin, "__file__", "")) for plugin in plugins]
    conftests = [os.path.relpath(file, root) for file in files if Path(file).name == "conftest.py"]
    names = {config.pluginmanager.get_name(plugin) for plugin in plugins}
    return list(dict.fromkeys([*conftests, *(name for name in config.option.plugins if name in names)]))


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
