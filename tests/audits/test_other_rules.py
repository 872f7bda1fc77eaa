"""The rules of the other audits, on runs made by hand."""

from __future__ import annotations

import json

import pytest
from audit_runs import output, run

from pytest_bench.audits import (
    Undecided,
    accuracy_in_performance,
    accuracy_in_performance_full,
    output_consistency,
    output_length,
    vbench,
)

SAMPLES = range(4)


# accuracy-in-performance


def accuracy_verdict(accuracy, sampled, *, rate=100, threshold=0.10):
    return accuracy_in_performance.judge(
        run("performance", requested=4, rate=100),
        run("accuracy", requested=4, outputs=accuracy),
        run("sampled", requested=4, rate=rate, outputs=sampled),
        threshold=threshold,
    )


def test_equal_outputs_within_the_band_pass():
    same = [output(sample) for sample in SAMPLES]

    result = accuracy_verdict(same, list(reversed(same)))

    assert result.passed
    assert result.lines[:3] == ("Accuracy check pass: True", "Performance check pass: True", "TEST PASS")


def test_an_output_that_differs_only_in_its_last_token_fails():
    honest = [output(sample) for sample in SAMPLES]
    sampled = [*honest[:3], output(3, token_ids=(5, 6, 8))]

    result = accuracy_verdict(honest, sampled)

    assert not result.passed
    assert result.details["different_samples"] == [3]
    assert result.lines[0] == "Accuracy check pass: False"


def test_texts_are_compared_where_ids_are_missing():
    honest = [output(sample, token_ids=()) for sample in SAMPLES]

    assert accuracy_verdict(honest, honest).passed
    assert not accuracy_verdict(honest, [*honest[:3], output(3, text="other", token_ids=())]).passed


def test_an_output_without_a_counterpart_fails():
    honest = [output(sample) for sample in SAMPLES]

    assert not accuracy_verdict(honest[:3], honest).passed


@pytest.mark.parametrize(("rate", "passed"), [(89, False), (91, True), (109, True), (111, False)])
def test_throughput_must_stay_within_the_band_both_ways(rate, passed):
    same = [output(sample) for sample in SAMPLES]

    result = accuracy_verdict(same, same, rate=rate)

    assert result.passed is passed
    assert result.lines[1] == f"Performance check pass: {passed}"


def test_a_failed_request_in_any_phase_fails_the_comparison():
    same = [output(sample) for sample in SAMPLES]
    result = accuracy_in_performance.judge(
        run("performance", requested=4),
        run("accuracy", requested=4, outputs=same),
        run("sampled", requested=5, completed=4, rate=100, outputs=same),
        threshold=0.5,
    )

    assert not result.passed
    assert "4 of 5" in result.explanation


# output-consistency

EOS = {2}


def consistency(*outputs, whole=None):
    return output_consistency.judge(
        run("performance", requested=len(outputs), outputs=outputs),
        None if whole is None else run("whole", requested=len(whole), outputs=whole),
        eos=EOS,
    )


def test_consistent_outputs_pass_and_say_so_in_the_words_of_the_checker():
    result = consistency(
        output(0, "ab", (5, 2), first_event="a", server_tokens=2), whole=[output(0, "ab", (5, 2))]
    )

    assert result.passed
    assert result.lines == (
        "First token check pass: True",
        "EOS check pass: True",
        "Sample length check pass: True",
        "TEST06 verification complete",
    )


def test_without_streams_the_first_token_check_is_skipped():
    assert consistency(output(server_tokens=3)).lines[0] == "First token check pass: Skipped"


@pytest.mark.parametrize(
    ("token_ids", "line"),
    [
        ((5, 2, 2), "EOS check pass: False"),
        ((2, 5, 6), "EOS check pass: False"),
        ((), "EOS check pass: False"),
        ((5, 6), "Sample length check pass: False"),
    ],
)
def test_an_inconsistent_output_fails(token_ids, line):
    text = "words" if token_ids else ""
    result = consistency(
        output(token_ids=(5, 6, 7), server_tokens=3),
        output(1, text=text, token_ids=token_ids, server_tokens=len(token_ids) + ("length" in line)),
    )

    assert not result.passed
    assert line in result.lines
    assert result.lines[-1] == "TEST06 verification failed"


def test_a_first_token_that_the_whole_answer_does_not_begin_with_fails():
    result = consistency(output(0, "The cat", first_event="The", server_tokens=3), whole=[output(0, "A cat")])

    assert not result.passed
    assert result.lines[0] == "First token check pass: False"


@pytest.mark.parametrize("missing", [{"token_ids": ()}, {"server_tokens": None}])
def test_outputs_without_ids_or_counts_decide_nothing(missing):
    with pytest.raises(Undecided):
        consistency(output(**{"server_tokens": 3, **missing}))


@pytest.mark.parametrize(
    ("token_ids", "number"), [((), 0), ((2,), 1), ((2, 5), 0), ((5, 2, 2), 2), ((2, 5, 2), 1)]
)
def test_trailing_ends_of_sequence_are_counted_from_the_end(token_ids, number):
    assert output_consistency.trailing(token_ids, EOS) == number


# output-length


def lengths(*numbers, minimum=2.0, maximum=4.0, requested=None):
    outputs = [output(text="x" if number else "", token_ids=range(number)) for number in numbers]
    return output_length.judge(
        run("performance", requested=requested or len(numbers), completed=len(numbers), outputs=outputs),
        minimum=minimum,
        maximum=maximum,
    )


@pytest.mark.parametrize(
    ("numbers", "passed"),
    [((2, 2), True), ((4, 4), True), ((2, 1), False), ((4, 5), False), ((0, 4), True), ((0, 3), False)],
)
def test_the_mean_length_must_lie_within_the_bounds_both_included(numbers, passed):
    result = lengths(*numbers)

    assert result.passed is passed
    assert result.lines[-1] == ("TEST PASS" if passed else "TEST FAIL")


def test_the_clients_count_is_taken_before_the_servers_ids():
    assert output_length.length(output(token_ids=(1, 2, 3), counted_tokens=2)) == 2
    assert output_length.length(output(token_ids=(1, 2, 3))) == 3
    assert output_length.length(output(text="", token_ids=())) == 0
    with pytest.raises(Undecided, match="tokenizer"):
        output_length.length(output(token_ids=(), server_tokens=3))


def test_failed_requests_cannot_lift_the_mean():
    assert not lengths(3, 3, requested=3).passed


# accuracy-in-performance-full


def scored(answers, *, requested=None, minimum=0.75, extract=None):
    expected = ["1", "2", "3", "4"]
    outputs = [output(sample, text) for sample, text in answers]
    return accuracy_in_performance_full.judge(
        run("performance", requested=requested or 4, completed=len(outputs), outputs=outputs),
        expected,
        extract=extract,
        minimum=minimum,
    )


def test_a_score_at_the_minimum_passes_and_below_it_fails():
    answers = [(0, "1"), (1, " 2\n"), (2, "3"), (3, "wrong")]

    assert scored(answers).passed
    assert not scored(answers, minimum=0.76).passed
    assert "TEST PASS" in scored(answers).lines


def test_every_sample_must_be_answered_exactly_once():
    assert not scored([(0, "1"), (1, "2"), (2, "3")]).passed
    assert not scored([(0, "1"), (1, "2"), (2, "3"), (2, "3")], minimum=0.5).passed


@pytest.mark.parametrize(
    ("text", "extract", "answer"),
    [
        (" 42 ", None, "42"),
        ("first 1, so #### 42", r"#### (\d+)", "42"),
        ("1 then 2", r"\d", "2"),
        ("none", r"\d", ""),
    ],
)
def test_the_answer_is_the_last_match_in_an_output(text, extract, answer):
    assert accuracy_in_performance_full.answer_of(text, extract) == answer


# vbench


def dimensions(score=70.0, **others):
    return {**dict.fromkeys(vbench.DIMENSIONS, score), **others}


def vbench_file(**changes):
    return json.dumps({"dimensions": dimensions(), "videos": 248, **changes}).encode()


def test_a_complete_result_above_the_gate_passes_and_below_it_fails():
    above, videos = vbench.read_result(vbench_file())
    below, _ = vbench.read_result(vbench_file(dimensions=dimensions(69.77)))

    assert vbench.judge(above, videos, minimum=69.7752, expected_videos=248).passed
    assert not vbench.judge(below, videos, minimum=69.7752, expected_videos=248).passed
    assert not vbench.judge(above, 247, minimum=69.7752, expected_videos=248).passed


def test_the_record_of_mlcommons_endpoints_is_read():
    entry = {
        "dataset_name": "wan22_vbench",
        "score": 70.0,
        "total_samples": 248,
        "breakdown": {"subset_scores": dimensions(), "total_samples": 248},
    }

    scores, videos = vbench.read_result(json.dumps({"accuracy_scores": [entry]}).encode())

    assert scores == dimensions()
    assert videos == 248


def test_a_score_between_0_and_1_is_refused_with_a_hint():
    with pytest.raises(Undecided, match="multiply every score by 100"):
        vbench.read_result(vbench_file(dimensions=dimensions(0.7)))


def test_a_single_low_dimension_is_a_score_and_no_scale():
    scores, _ = vbench.read_result(vbench_file(dimensions=dimensions(scene=0.5)))

    assert scores["scene"] == 0.5


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"accuracy_scores": [{"score": 70.1}]}',
        b"\xff",
        b"[" * 100_000,
        vbench_file(dimensions={"scene": 70.0}),
        vbench_file(dimensions=dimensions(color=70.0)),
        vbench_file(dimensions=dimensions(scene="70")),
        vbench_file(dimensions=dimensions(scene=True)),
        vbench_file(dimensions=dimensions(scene=float("nan"))),
        vbench_file(dimensions=dimensions(scene=101)),
        vbench_file(videos=None),
        vbench_file(videos=True),
        vbench_file(score=71.0),
        vbench_file(score="70"),
    ],
)
def test_any_other_file_decides_nothing(data):
    with pytest.raises(Undecided):
        vbench.read_result(data)
