import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.errors import UsageError
from pytest_bench.simulator import Behaviour, faults
from pytest_bench.simulator.behaviour import FAULTS, FRAMINGS
from pytest_bench.simulator.output import Asked, draw, produce, time_tokens
from pytest_bench.simulator.output import _source as source


def output(prompt="hello", *, max_tokens=None, number=0, in_flight=1, **knobs):
    asked = Asked(prompt=prompt, prompt_tokens=1, max_tokens=max_tokens)
    return produce(asked, Behaviour(**knobs), number=number, in_flight=in_flight, empty=False)


def test_an_unknown_knob_is_refused_with_the_nearest_one():
    with pytest.raises(UsageError, match="unknown knob 'ttft'; did you mean 'ttft_ms'"):
        Behaviour.from_mapping({"ttft": 5})


def test_text_is_refused_if_yaml_should_give_a_number():
    with pytest.raises(UsageError, match="ttft_ms"):
        Behaviour.from_mapping({"ttft_ms": "5"})


def test_texts_of_a_command_line_become_numbers_and_flags():
    behaviour = Behaviour.from_mapping({"ttft_ms": "5", "role_first": "false", "seed": "-3"}, text=True)
    assert (behaviour.ttft_ms, behaviour.role_first, behaviour.seed) == (5.0, False, -3)


@pytest.mark.parametrize(
    "knobs",
    [
        {"ttft_ms": -1.0},
        {"itl_ms": float("nan")},
        {"video_ms": float("inf")},
        {"tokens_per_event": 0},
        {"coalesce": 0},
        {"cached_speedup": 0.0},
        {"cache_after": 1},
        {"cheat": ("lying",)},
        {"fault": {"reset": 1.5}},
        {"fault": {"rset": 0.5}},
        {"fault": {"reset": 0.6, "stall": 0.6}},
    ],
)
def test_a_value_outside_its_limits_is_refused(knobs):
    with pytest.raises(UsageError, match=next(iter(knobs))):
        Behaviour(**knobs)


def test_every_knob_has_a_description():
    described = msgspec.json.schema(Behaviour)["$defs"]["Behaviour"]["properties"]
    assert all(knob.get("description") for knob in described.values())


def test_a_request_sets_knobs_by_header():
    behaviour = Behaviour(model="m").for_request(
        {"x-sim-ttft-ms": "7", "x-sim-fault": "reset=0.5,crlf", "x-sim-cheat": "first_eos", "accept": "*/*"}
    )
    assert behaviour == Behaviour(
        model="m", ttft_ms=7.0, fault={"reset": 0.5, "crlf": 1.0}, cheat=("first_eos",)
    )


@pytest.mark.parametrize(
    "name", ["x-sim-model", "x-sim-max-concurrency", "x-sim-api-key-env", "x-sim-no-such"]
)
def test_a_header_cannot_set_a_knob_of_the_whole_server(name):
    with pytest.raises(UsageError):
        Behaviour().for_request({name: "1"})


@pytest.mark.parametrize("distribution", ["constant", "uniform", "exponential", "lognormal"])
def test_each_distribution_has_the_mean_it_is_given(distribution):
    draws = [draw(source(Behaviour(), number, 9), distribution, 20.0, 0.5) for number in range(4000)]
    assert statistics.fmean(draws) == pytest.approx(20, rel=0.05)
    assert min(draws) >= 0


@pytest.mark.parametrize(("distribution", "deviation"), [("uniform", 10 / 3**0.5), ("lognormal", 10)])
def test_spread_is_the_half_width_or_the_deviation_relative_to_the_mean(distribution, deviation):
    draws = [draw(source(Behaviour(), number, 9), distribution, 20.0, 0.5) for number in range(4000)]
    assert statistics.stdev(draws) == pytest.approx(deviation, rel=0.1)


def test_times_follow_from_the_seed_and_the_number_of_the_request():
    random = Behaviour(ttft_distribution="exponential", itl_distribution="uniform", seed=3)
    first = time_tokens(random, 8, number=1, speedup=1.0)
    assert first == time_tokens(random, 8, number=1, speedup=1.0)
    assert first != time_tokens(random, 8, number=2, speedup=1.0)


def test_tokens_of_one_event_come_together_a_step_later():
    timing = time_tokens(Behaviour(ttft_ms=50.0, itl_ms=10.0), 9, number=0, speedup=1.0)
    assert timing.schedule(3, 3) == [50_000_000, 80_000_000, 110_000_000]


def test_random_gaps_add_up_to_the_last_token():
    timing = time_tokens(Behaviour(itl_distribution="uniform"), 6, number=0, speedup=1.0)
    assert timing.schedule(6, 1)[-1] == timing.due_ns(5)


def test_a_cached_answer_is_faster_by_the_factor():
    plain = time_tokens(Behaviour(), 4, number=0, speedup=1.0)
    assert time_tokens(Behaviour(), 4, number=0, speedup=10.0).due_ns(3) == plain.due_ns(3) // 10


@given(st.text(), st.integers(0, 40), st.integers(0, 40))
def test_a_longer_answer_to_the_same_prompt_continues_the_shorter(prompt, short, long):
    short, long = sorted((short, long))
    assert output(prompt, max_tokens=long).pieces[:short] == output(prompt, max_tokens=short).pieces


def test_different_prompts_get_different_answers():
    assert output("one").pieces != output("two").pieces


def test_output_has_the_requested_length_and_finish_reason():
    answer = output(max_tokens=5)
    assert (len(answer.pieces), answer.finish_reason) == (5, "length")


def test_an_output_length_does_not_exceed_the_requested_one():
    assert [len(output(max_tokens=limit, output_tokens=8).pieces) for limit in (5, 20)] == [5, 8]
    assert output(max_tokens=20, output_tokens=8).finish_reason == "stop"


def test_output_lengths_vary_around_their_mean_as_configured():
    lengths = [
        len(output(number=number, output_tokens=100, output_distribution="lognormal").pieces)
        for number in range(500)
    ]
    assert statistics.fmean(lengths) == pytest.approx(100, rel=0.1)
    assert len(set(lengths)) > 50


@pytest.mark.parametrize(
    ("cheat", "check"),
    [
        ("different_output", lambda honest, told: len(told) == len(honest) and told != honest),
        ("unstable_output", lambda honest, told: len(told) == len(honest) and told != honest),
        ("trailing_eos", lambda honest, told: told == [*honest, "</s>", "</s>", "</s>"]),
        ("first_eos", lambda honest, told: told == ["</s>", *honest[:-1]]),
        ("short_output", lambda honest, told: told == honest[:2]),
        ("empty_output", lambda honest, told: told == []),
    ],
)
def test_each_cheat_has_its_documented_effect(cheat, check):
    assert check(output(max_tokens=8).pieces, output(max_tokens=8, cheat=(cheat,)).pieces)


def test_unstable_output_changes_from_request_to_request():
    first, second = (output(number=number, cheat=("unstable_output",)).pieces for number in (1, 2))
    assert first != second


def test_a_cheat_in_performance_mode_waits_for_load():
    knobs = {"cheat": ("different_output",), "cheat_in_flight": 2}
    assert output(in_flight=1, **knobs).pieces == output().pieces
    assert output(in_flight=2, **knobs).pieces != output().pieces


def test_faults_affect_the_same_requests_in_every_run():
    behaviour = Behaviour(fault={"reset": 0.3, "stall": 0.2, "crlf": 0.5})
    assert [faults.pick(behaviour, n) for n in range(50)] == [faults.pick(behaviour, n) for n in range(50)]


def test_another_seed_affects_other_requests():
    struck = [
        [faults.pick(Behaviour(fault={"reset": 0.5}, seed=seed), n)[0] for n in range(50)] for seed in (1, 2)
    ]
    assert struck[0] != struck[1]


def test_faults_have_the_configured_probability_and_at_most_one_applies():
    behaviour = Behaviour(fault={"reset": 0.3, "http_500": 0.2})
    struck = [faults.pick(behaviour, n)[0] for n in range(5000)]
    assert struck.count("reset") == pytest.approx(1500, rel=0.1)
    assert struck.count("http_500") == pytest.approx(1000, rel=0.1)


def test_framings_are_drawn_independently_of_faults_and_of_each_other():
    behaviour = Behaviour(fault={"reset": 1.0, **dict.fromkeys(FRAMINGS, 1.0)})
    assert faults.pick(behaviour, 0) == ("reset", frozenset(FRAMINGS))


def test_no_name_is_both_a_fault_and_a_framing():
    assert not set(FAULTS) & set(FRAMINGS)
