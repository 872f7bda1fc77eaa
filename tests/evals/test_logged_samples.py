import pytest
from eval_log import RIGHT, EvalLog, payload

from pytest_bench.evals.paired import Flip
from pytest_bench.evals.samples import flipped, selected
from pytest_bench.metrics.observed import NotDefined

STRICT = "exact_match,strict-match"


def scored(tmp_path, name, answers):
    log = EvalLog(tmp_path / f"{name}.jsonl")
    log.session(answers)
    return log.scored()


def test_answers_are_selected_by_what_became_of_them(tmp_path):
    answers = {**RIGHT, "q1": "#### 99", "q2": payload(2, "It", finish_reason="length")}
    del answers["q5"]
    found = scored(tmp_path, "a", answers)

    def ids(selection):
        return [one.item.id for one in selected(found, STRICT, selection)]

    assert ids("all") == ["q0", "q1", "q2", "q3", "q4", "q5"]
    assert ids("wrong") == ["q1", "q2"]
    assert ids("truncated") == ["q2"]
    assert ids("unscored") == ["q5"]


def test_answers_that_flipped_between_two_runs_are_listed(tmp_path):
    first = scored(tmp_path, "first", {**RIGHT, "q1": "#### 99"})
    second = scored(tmp_path, "second", {**RIGHT, "q3": "#### 99"})
    assert flipped(first, second, STRICT) == (Flip("q1", 0.0, 1.0), Flip("q3", 1.0, 0.0))


def test_runs_with_other_scored_items_are_not_compared(tmp_path):
    first = scored(tmp_path, "first", RIGHT)
    second = scored(tmp_path, "second", {"q0": "#### 0", "q1": "#### 2"})
    with pytest.raises(NotDefined):
        flipped(first, second, STRICT)
