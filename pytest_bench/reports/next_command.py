"""The one command that shows more of a session, chosen by the session's result."""

from __future__ import annotations

import importlib.util
import shlex
from collections.abc import Sequence

from pytest_bench.reports.tables import Row
from pytest_bench.results.details import EvalDetail
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import Verdict

_PLOTS = "vl_convert"
"""The library without which `pytest-bench report` is refused: the extra `report`."""


def next_command(
    verdict: Verdict,
    rows: Sequence[Row],
    results: str,
    *,
    plugins: Sequence[str] = (),
    verified: bool = False,
) -> str:
    """The command line. `results` is the folder, and `plugins` what the command must load with `-p`.

    A session with a fault, or with points that did not run, is verified, which says what there is and how to go on;
    not if it was `verified` already. Of an eval that is worst the answers are shown that made it red. Everything else
    is a page of plots, or if the library for it is not installed, all numbers.
    """
    words = _chosen(verdict, rows, verified=verified)
    named = (word for plugin in plugins for word in ("-p", plugin))
    return shlex.join(["pytest-bench", words[0], results, *words[1:], *named])


def _chosen(verdict: Verdict, rows: Sequence[Row], *, verified: bool) -> list[str]:
    unfinished = bool(verdict.faults) or any(point.outcome is Outcome.MISSING for point in verdict.points)
    if unfinished and not verified:
        return ["verify"]
    worst = max(rows, key=lambda row: row.point.outcome.severity, default=None)
    if worst is not None and worst.point.outcome is not Outcome.PASS and _is_eval(worst):
        codes = {reason.code for reason in worst.point.reasons}
        return ["samples", "--unscored" if "unscored" in codes else "--wrong", "--point", worst.point.id]
    if importlib.util.find_spec(_PLOTS) is None:
        return ["show", "--json"]
    return ["report"]


def _is_eval(row: Row) -> bool:
    """Whether there are answers to show."""
    return row.summary is not None and isinstance(row.summary.detail, EvalDetail)
