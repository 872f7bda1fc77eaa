"""Which command shows more of a session depends on what it came to."""

import importlib.util

import pytest

from pytest_bench.reports.next_command import next_command
from pytest_bench.reports.tables import Row
from pytest_bench.results.details import EvalDetail
from pytest_bench.results.summary import Summary
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason
from pytest_bench.verdict.verdict import Coverage, PointVerdict, Verdict, status_of

PERF, EVAL = "chat/perf/steady", "sums/eval/sums/c0001"
DETAIL = EvalDetail(
    **dict.fromkeys(("shown", "gates", "sessions"), ()),
    **{name: {} for name in ("metrics", "account", "concurrency", "pairs", "results")},
    release="1",
)


def point(name, outcome=Outcome.PASS, code="bound"):
    reasons = () if outcome is Outcome.PASS else (Reason(code, "why"),)
    return PointVerdict(id=name, outcome=outcome, reasons=reasons)


def chosen(*points, faults=(), **options):
    verdict = Verdict(
        status=status_of(points, faults),
        coverage=Coverage(complete=True),
        nonce="n",
        points=points,
        faults=faults,
    )
    rows = [Row(one, summary(one) if one.id == EVAL else None) for one in points]
    return next_command(verdict, rows, "results/latest", **options)


def summary(one):
    return Summary(
        point=one.id,
        point_digest="d",
        nonce="n",
        judgement=Judgement(outcome=one.outcome),
        measurement=None,
        phases=(),
        dataset=None,
        detail=DETAIL,
    )


@pytest.fixture(autouse=True)
def plots(monkeypatch):
    """A function that says whether the library for plots is installed. It is, until it says otherwise."""

    def installed(*, there):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if there else None)

    installed(there=True)
    return installed


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.ERROR])
def test_a_measured_session_is_shown_as_a_page(outcome):
    assert chosen(point(PERF, outcome)) == "pytest-bench report results/latest"


def test_without_the_library_for_plots_all_numbers_are_shown(plots):
    plots(there=False)
    assert chosen(point(PERF)) == "pytest-bench show results/latest --json"


def test_of_an_eval_that_is_red_the_wrong_answers_are_shown():
    told = chosen(point(PERF), point(EVAL, Outcome.FAIL, "bound-violated"))
    assert told == f"pytest-bench samples results/latest --wrong --point {EVAL}"


def test_of_an_eval_with_unscored_requests_those_are_shown():
    told = chosen(point(EVAL, Outcome.ERROR, "unscored"))
    assert told == f"pytest-bench samples results/latest --unscored --point {EVAL}"


def test_the_worst_point_decides():
    told = chosen(point(EVAL, Outcome.INCONCLUSIVE), point(PERF, Outcome.FAIL))
    assert told == "pytest-bench report results/latest"


def test_a_session_that_is_not_whole_is_verified():
    verify = "pytest-bench verify results/latest"
    assert chosen(point(PERF), point(EVAL, Outcome.MISSING)) == verify
    assert chosen(point(EVAL, Outcome.FAIL), faults=(Reason("interrupted", "why"),)) == verify


def test_a_session_that_was_verified_is_not_verified_again():
    told = chosen(point(PERF), faults=(Reason("interrupted", "why"),), verified=True)
    assert told == "pytest-bench report results/latest"


def test_what_registers_a_scorer_is_named():
    told = chosen(point(PERF), plugins=("bench/conftest.py", "my_audits"))
    assert told == "pytest-bench report results/latest -p bench/conftest.py -p my_audits"
