import pytest

from pytest_bench.scoring import CONDITIONS, Response, build_scoring
from pytest_bench.scoring.responses import scored_text


@pytest.mark.parametrize(
    ("choice", "response", "text", "source"),
    [
        ("content", {"content": "a", "reasoning": "b"}, "a", "content"),
        ("content", {"content": None, "reasoning": "b"}, "", "content"),
        ("content_or_reasoning", {"content": "a", "reasoning": "b"}, "a", "content"),
        ("content_or_reasoning", {"content": None, "reasoning": "b"}, "b", "reasoning"),
        ("content_or_reasoning", {"content": " \n", "reasoning": "b"}, "b", "reasoning"),
        ("content_or_reasoning", {"content": None}, "", "content"),
        ("after_think", {"content": "<think>x</think>a"}, "a", "after_think"),
        ("after_think", {"content": "x</think>y</think>a"}, "a", "after_think"),
        ("after_think", {"content": "<think>x"}, "", "after_think"),
        ("after_think", {"content": "a"}, "a", "after_think"),
        ("after_think", {"content": None, "reasoning": "b"}, "", "after_think"),
    ],
)
def test_the_declared_part_of_a_response_is_scored(choice, response, text, source):
    assert scored_text(Response(**response), choice) == (text, source)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"content": "#### 7", "finish_reason": "stop"}, set()),
        ({"content": "seven", "finish_reason": "stop"}, {"extraction_failed"}),
        ({"content": None, "finish_reason": "length"}, {"empty", "truncated", "extraction_failed"}),
        ({"content": "#### 7", "finish_reason": "length"}, {"truncated"}),
        ({"content": "", "finish_reason": "content_filter"}, {"empty", "refused", "extraction_failed"}),
        ({"content": "I will not.", "refusal": True}, {"refused", "extraction_failed"}),
        (
            {"content": "", "reasoning": "so #### 7", "finish_reason": "stop"},
            {"empty", "stopped_in_reasoning", "extraction_failed"},
        ),
        ({"content": "<think>#### 7", "finish_reason": "stop"}, {"stopped_in_reasoning"}),
        ({"content": "<think>x</think>#### 7", "finish_reason": "stop"}, set()),
        ({"content": "<think>#### 7", "finish_reason": "length"}, {"truncated"}),
    ],
)
def test_conditions_of_a_response_are_counted(response, expected):
    score = build_scoring("gsm8k-strict-match").score(Response(**response), "#### 7")
    assert set(score.conditions) == expected
    assert expected <= CONDITIONS.keys()


def test_an_empty_or_truncated_answer_is_wrong_not_unscored():
    for response in (Response(content=None, finish_reason="length"), Response(content="")):
        score = build_scoring("gsm8k-strict-match").score(response, "#### 7")
        assert (score.value, score.error) == (0, None)


def test_what_was_scored_is_part_of_the_score():
    scoring = build_scoring("gsm8k-strict-match", {"text": "content_or_reasoning"})
    score = scoring.score(Response(content=None, reasoning="#### 7"), "#### 7")
    assert (score.value, score.source) == (1, "reasoning")
