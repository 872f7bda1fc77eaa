import pytest
from checkpoint_log import Log
from hypothesis import given, settings
from hypothesis import strategies as st
from writer_process import generation, keys_of

from pytest_bench.checkpoints import decide, open_checkpoint
from pytest_bench.checkpoints.contents import Contents
from pytest_bench.errors import UsageError

SCORING = {"s": "1"}


def decision(log, *, asked=None, keys=None, scoring=None, point="p"):
    with open_checkpoint(log.path) as checkpoint:
        return decide(
            checkpoint.contents, point, asked or generation(2), scoring or SCORING, keys or log.keys
        )


def test_an_empty_checkpoint_leaves_everything_to_request(log):
    result = decision(log)
    assert (result.action, result.fresh, list(result.pending), result.kept) == ("request", True, log.keys, 0)


def test_what_is_done_is_not_requested_again(log):
    log.write(*log.results(1, 3))
    result = decision(log)
    assert (result.action, result.fresh, result.kept) == ("request", False, 2)
    assert list(result.pending) == [log.keys[0], log.keys[2], log.keys[4]]


def test_what_failed_is_requested_again_and_named_as_retried(log):
    log.write(*log.results(0, 1, 2), *log.errors(3))
    result = decision(log)
    assert (list(result.pending), list(result.retried)) == ([log.keys[3], log.keys[4]], [log.keys[3]])


def test_an_empty_answer_is_an_answer(log):
    log.write(*(("result", {"answer": None}, key) for key in log.keys))
    assert decision(log).pending == ()


def test_a_checkpoint_with_all_answers_and_no_end_is_scored(log):
    log.write(*log.results(*range(5)))
    assert decision(log).action == "score"


def test_a_finished_point_has_nothing_left_to_do(log):
    log.write(*log.results(*range(5)), ("end", {"results": 5}, None))
    assert decision(log).action == "nothing"


def test_another_scoring_scores_a_finished_point_again_without_a_request(log):
    log.write(*log.results(*range(5)), ("end", {"results": 5}, None))
    result = decision(log, scoring={"s": "2"})
    assert (result.action, result.pending, result.kept) == ("score", (), 5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("items", "other"),
        ("prompts", "other"),
        ("few_shots", "other"),
        ("parameters", '{"max_tokens":1}'),
        ("seed", 2),
        ("model", "other"),
        ("revision", "abc"),
        ("concurrency", 4),
    ],
)
def test_answers_that_were_generated_otherwise_are_refused_naming_the_field(log, field, value):
    log.write(*log.results(0))
    with pytest.raises(UsageError, match=rf"{field} was .*, is "):
        decision(log, asked=generation(**{"concurrency": 2, field: value}))


def test_every_field_that_differs_is_named(log):
    log.write()
    with pytest.raises(UsageError, match="point was 'p'; seed was 1, is 5; model was 'm', is 'x'"):
        decision(log, asked=generation(2, seed=5, model="x"), point="q")


def test_repeats_can_be_added(log):
    log.write(*log.results(*range(5)), ("end", {"results": 5}, None))
    result = decision(log, asked=generation(2, repeats=2), keys=keys_of(5, 2, repeats=2))
    assert (result.action, result.kept) == ("request", 5)
    assert [key.repeat for key in result.pending] == [1] * 5


def test_repeats_that_a_later_session_added_cannot_be_taken_away(log):
    log.write(*log.results(0))
    log.write(session={"nonce": "n", "repeats": 3, "scoring": SCORING, "started_ns": 2})
    with pytest.raises(UsageError, match="repeats was 3, is 2: repeats can only be added"):
        decision(log, asked=generation(2, repeats=2), keys=keys_of(5, 2, repeats=2))


def test_requests_that_the_eval_does_not_ask_for_are_refused(log):
    log.write(*log.results(4))
    with pytest.raises(UsageError, match="item '4'"):
        decision(log, keys=log.keys[:4])


def test_a_key_twice_is_refused():
    keys = keys_of(2, 1)
    with pytest.raises(UsageError, match="twice"):
        decide(Contents(), "p", generation(1), SCORING, [*keys, keys[0]])


@settings(deadline=None)
@given(st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19)))
def test_kept_and_pending_are_all_keys_each_once(tmp_path_factory, done, failed):
    log = Log(tmp_path_factory.mktemp("keys") / "checkpoint.jsonl")
    log.keys = keys_of(20, 2)
    log.write(*log.errors(*sorted(failed)), *log.results(*sorted(done)))
    result = decision(log)
    assert {*result.pending} == {log.keys[number] for number in range(20) if number not in done}
    assert result.kept == len(done)
    assert {*result.retried} == {log.keys[number] for number in failed - done}
