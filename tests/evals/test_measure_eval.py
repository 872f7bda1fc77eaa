import pytest
from eval_log import RIGHT, EvalLog, make_task, payload, same

from pytest_bench.errors import EvidenceError
from pytest_bench.evals.measure import Allowance, values_by_item
from pytest_bench.scoring import build_scoring

STRICT = "exact_match,strict-match"


@pytest.fixture
def log(tmp_path):
    return EvalLog(tmp_path / "checkpoint.jsonl")


def test_scores_and_all_denominators_are_reported(log):
    log.session({**RIGHT, "q1": "#### 99", "q2": "It is 4."})
    metrics = log.metrics()
    strict, flexible = metrics.scorings.values()
    assert (metrics.total, metrics.completed, metrics.failed, metrics.missing, metrics.retried) == (
        6,
        6,
        0,
        0,
        0,
    )
    assert (strict.scored, strict.unscored, strict.estimate.value) == (6, 0, 4 / 6)
    assert (strict.counts["extraction_failed"], strict.rates["extraction_failed"]) == (1, 1 / 6)
    assert flexible.estimate.value == 5 / 6
    assert metrics.undefined == ()


def test_every_condition_is_counted(log):
    answers = {
        "q0": payload(0, ""),
        "q1": payload(1, "no", finish_reason="length"),
        "q2": payload(2, "no", finish_reason="content_filter"),
        "q3": payload(3, {"content": "", "reasoning": "so #### 6"}),
        "q4": payload(4, {"content": "#### 8", "reasoning": "so"}),
        "q5": payload(5, "<think> #### 10"),
    }
    log.session(answers)
    counts = log.metrics().scorings[STRICT].counts
    assert counts == {
        "extraction_failed": 4,
        "empty": 2,
        "truncated": 1,
        "time_limited": 0,
        "refused": 1,
        "stopped_in_reasoning": 2,
    }


def test_what_was_scored_is_counted(tmp_path):
    options = {"text": "content_or_reasoning"}
    task = make_task(scorings=(build_scoring("gsm8k-strict-match", options),))
    log = EvalLog(tmp_path / "checkpoint.jsonl", task)
    log.session({**RIGHT, "q1": {"content": "", "reasoning": "#### 2"}})
    strict = log.metrics().scorings[STRICT]
    assert (strict.sources, strict.estimate.value) == ({"content": 5, "reasoning": 1}, 1)


@pytest.mark.parametrize("failed", [["q5"], []])
def test_one_unscored_request_leaves_the_score_undefined(log, failed):
    log.session({item: text for item, text in RIGHT.items() if item != "q5"}, failed)
    metrics = log.metrics()
    strict = metrics.scorings[STRICT]
    assert (metrics.failed, metrics.missing) == (len(failed), 1 - len(failed))
    assert (strict.scored, strict.unscored, strict.estimate) == (5, 1, None)
    assert "1 of 6 requests are unscored; none are allowed" in metrics.undefined[0]


@pytest.mark.parametrize("allowance", [Allowance(count=1), Allowance(share=0.17)])
def test_an_allowance_counts_unscored_requests_as_wrong(log, allowance):
    log.session({item: text for item, text in RIGHT.items() if item != "q5"}, ["q5"])
    strict = log.metrics(allowance=allowance).scorings[STRICT]
    assert (strict.unscored, strict.estimate.n, strict.estimate.value) == (1, 6, 5 / 6)


@pytest.mark.parametrize("allowance", [Allowance(count=1), Allowance(share=0.3)])
def test_an_allowance_that_is_exceeded_leaves_the_score_undefined(log, allowance):
    log.session({item: text for item, text in RIGHT.items() if item not in {"q4", "q5"}})
    assert log.metrics(allowance=allowance).scorings[STRICT].estimate is None


@pytest.mark.parametrize(("share", "total"), [(0.29, 100), (0.07, 100), (0.57, 100), (0.001, 1000)])
def test_an_allowed_share_is_a_decimal(share, total):
    allowed = round(share * total)
    assert Allowance(share=share).covers(allowed, total)
    assert not Allowance(share=share).covers(allowed + 1, total)


@pytest.mark.parametrize("fields", [{"count": 1, "share": 0.1}, {"count": -1}, {"share": 1.5}])
def test_a_meaningless_allowance_is_refused(fields):
    with pytest.raises(ValueError, match="an allowance is"):
        Allowance(**fields)


def test_a_scorer_that_fails_on_an_item_leaves_it_unscored_with_its_traceback(tmp_path):
    task = make_task(scorings=(build_scoring("numeric"),), target="{{answer if id != 'q3' else 'six'}}")
    log = EvalLog(tmp_path / "checkpoint.jsonl", task)
    log.session(RIGHT)
    metrics = log.metrics().scorings["numeric_match,last-anchored"]
    assert (metrics.scored, metrics.unscored, metrics.scorer_failures, metrics.estimate) == (5, 1, 1, None)
    scores = {one.item.id: one.answered.scores["numeric_match,last-anchored"] for one in log.scored()}
    assert "Traceback" in scores["q3"].error


def test_scores_with_and_without_retried_requests_are_both_reported(log):
    log.session({"q0": RIGHT["q0"], "q1": "#### 99"}, failed=["q2", "q3"])
    log.session({item: text for item, text in RIGHT.items() if item > "q1"})
    metrics = log.metrics()
    strict = metrics.scorings[STRICT]
    assert metrics.retried == 2
    assert (strict.estimate.n, strict.estimate.value) == (6, 5 / 6)
    assert (strict.without_retried.n, strict.without_retried.value) == (4, 3 / 4)


def test_an_interrupted_and_resumed_run_has_the_metrics_of_a_fresh_one(tmp_path):
    answers = {**RIGHT, "q1": "#### 99", "q4": ""}
    fresh = EvalLog(tmp_path / "fresh.jsonl")
    fresh.session(answers, end=True)
    resumed = EvalLog(tmp_path / "resumed.jsonl")
    resumed.session({item: answers[item] for item in ("q3", "q1")})
    resumed.session({item: answers[item] for item in ("q5", "q0", "q4", "q2")}, end=True)
    assert same(fresh.metrics(), resumed.metrics())


def test_a_failure_before_a_success_changes_only_the_number_of_attempts(tmp_path):
    fresh, retried = (EvalLog(tmp_path / f"{name}.jsonl") for name in ("fresh", "retried"))
    fresh.session(RIGHT)
    retried.session({}, failed=["q0"])
    retried.session(RIGHT)
    first, second = fresh.metrics(), retried.metrics()
    assert same(first.scorings[STRICT].estimate, second.scorings[STRICT].estimate)
    assert (first.retried, second.retried) == (0, 1)


def test_time_tokens_and_attempts_of_all_sessions_are_added_up(log):
    log.session({"q0": "a", "q1": "b"}, failed=["q2"], start_s=100)
    log.session({"q2": "c", "q3": "d", "q4": "e", "q5": "f"}, start_s=7)
    account = log.account()
    assert (account.sessions, account.attempts, account.failed) == (2, 7, 1)
    assert account.elapsed_s == pytest.approx(2 + 4)
    assert (account.tail_s, account.tail_share) == (pytest.approx(1 + 1), pytest.approx(2 / 6))
    assert (account.input_tokens, account.output_tokens) == (60, 30)


def test_tokens_are_unknown_if_one_answer_has_none(log):
    log.session({**RIGHT, "q0": payload(0, "x", usage=None)})
    assert (log.account().input_tokens, log.account().output_tokens) == (None, None)


def test_a_result_that_is_not_a_request_record_is_damage(log):
    log.session({**RIGHT, "q0": payload(0, None)})
    with pytest.raises(EvidenceError, match="the result of item 'q0', repeat 0, concurrency 2 has no text"):
        log.scored()


def test_values_by_item_keep_repeats_together(tmp_path):
    log = EvalLog(tmp_path / "checkpoint.jsonl", make_task(repeats=2))
    log.session(RIGHT)
    log.session(dict.fromkeys(RIGHT, "#### 0"), repeat=1)
    answers = [one.answered for one in log.scored()]
    assert values_by_item(STRICT, answers) == {item: [1, float(item == "q0")] for item in RIGHT}
    estimate = log.metrics().scorings[STRICT].estimate
    assert (estimate.n, estimate.items, estimate.value, estimate.method) == (12, 6, 7 / 12, "t")


def test_pass_at_k_is_the_mean_over_items_and_undefined_beyond_the_repeats(tmp_path):
    log = EvalLog(tmp_path / "checkpoint.jsonl", make_task(repeats=2))
    log.session(RIGHT)
    log.session(dict.fromkeys(RIGHT, "#### 0"), repeat=1)
    found = log.metrics(pass_at=(1, 2, 3)).scorings[STRICT].pass_at
    assert (found[1].value, found[2].value) == (7 / 12, 1)
    assert found[3] == "pass@3 needs 3 repeats of each item; there are 2"
    log.session({}, failed=[])
    assert log.metrics().scorings[STRICT].pass_at == {}
