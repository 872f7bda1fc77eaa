"""Failed requests never help to pass: not by the time they take, and not by the time they save."""

from __future__ import annotations

import random

import pytest
from audit_runs import SECOND, sent
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_bench.audits import Flight, Undecided
from pytest_bench.audits.output_caching import judge
from pytest_bench.audits.rates import lower_rate, upper_rate

FLIGHT = st.builds(
    lambda start, length: Flight(start, start + length), st.integers(0, 2000), st.integers(1, 900)
)
SOME = st.lists(FLIGHT, max_size=8)
PHASE = st.builds(sent, st.lists(FLIGHT, min_size=1, max_size=12), SOME)


def with_failures(run, more):
    return sent(run.succeeded, [*run.failed, *more])


def one_at_a_time(*lengths, failed=()):
    """Requests one after the other; those at the places `failed` fail."""
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    flights = [Flight(start, start + length) for start, length in zip(starts, lengths, strict=True)]
    return sent(
        [flight for place, flight in enumerate(flights) if place not in failed],
        [flight for place, flight in enumerate(flights) if place in failed],
    )


# For any requests at all.


@given(run=PHASE, beside=PHASE, more=SOME)
def test_one_more_failure_of_any_length_never_lowers_the_rate_that_must_not_be_high(run, beside, more):
    assert upper_rate(with_failures(run, more), beside=beside) >= upper_rate(run, beside=beside)
    assert upper_rate(run, beside=with_failures(beside, more)) >= upper_rate(run, beside=beside)


@given(run=PHASE, more=SOME)
def test_one_more_failure_of_any_length_never_raises_the_rate_that_must_not_be_low(run, more):
    assert lower_rate(with_failures(run, more)) <= lower_rate(run)


@given(run=PHASE, beside=PHASE)
def test_mlperfs_rate_lies_between_the_two(run, beside):
    assert lower_rate(run) <= run.throughput <= upper_rate(run, beside=beside)


@given(run=st.builds(sent, st.lists(FLIGHT, min_size=1, max_size=12)), beside=PHASE)
def test_without_failures_both_are_mlperfs_rate_to_the_bit(run, beside):
    assert lower_rate(run) == run.throughput == upper_rate(run, beside=beside)


@given(
    reference=PHASE,
    audit=PHASE,
    more=st.tuples(SOME, SOME),
    threshold=st.sampled_from([0.05, 0.10, 0.20, 0.50, 0.95]),
)
def test_no_failures_turn_a_fail_into_a_pass(reference, audit, more, threshold):
    def passed(*runs):
        try:
            return judge(*runs, threshold=threshold, sample_index=3).passed
        except Undecided:
            return False

    assume(not passed(reference, audit))
    assert not passed(with_failures(reference, more[0]), with_failures(audit, more[1]))


# With one request in flight: what a request that fails would have taken is known.


@given(
    lengths=st.lists(st.integers(1, 10**6), min_size=2, max_size=20),
    failed=st.sets(st.integers(0, 19), max_size=10),
    took=st.lists(st.integers(0, 10**7), min_size=20, max_size=20),
)
def test_a_success_that_fails_instead_helps_only_if_it_was_another_kind_of_request(lengths, failed, took):
    """Whatever failures take: the audit's rate never falls unless those that fail were the faster ones, and the
    reference's never rises unless they were the slower ones, by more than the mean of the others again."""
    failed = {place for place in failed if place < len(lengths)}
    assume(0 < len(failed) < len(lengths))
    whole = one_at_a_time(*lengths)
    holed = one_at_a_time(
        *(took[place] if place in failed else length for place, length in enumerate(lengths)), failed=failed
    )
    lost = sum(lengths[place] for place in failed) / len(failed)
    left = sum(length for place, length in enumerate(lengths) if place not in failed) / len(holed.succeeded)

    if lost >= left:
        assert upper_rate(holed, beside=whole) >= whole.throughput * (1 - 1e-12)
    if lost <= 2 * left:
        assert lower_rate(holed) <= whole.throughput * (1 + 1e-12)


def test_with_one_request_in_flight_the_time_of_failures_is_left_out_whole():
    run = one_at_a_time(SECOND, 60 * SECOND, SECOND, 30 * SECOND, failed={1, 3})

    assert run.throughput == 2 / 92
    assert upper_rate(run, beside=run) == 1.0


def test_a_quick_failure_counts_as_long_as_the_mean_success_and_a_slow_one_as_long_as_it_was():
    quick = one_at_a_time(SECOND, 3 * SECOND, 0, 0, failed={2, 3})
    slow = one_at_a_time(SECOND, 3 * SECOND, 5 * SECOND, failed={2})

    assert quick.throughput == 0.5
    assert lower_rate(quick) == 0.25
    assert lower_rate(slow) == slow.throughput == 2 / 9


# With several.


def test_of_several_in_flight_a_failure_takes_its_share():
    """Four in flight for a minute, one of which fails at its end: a quarter of the minute is its own."""
    others = [Flight(second * SECOND, (second + 1) * SECOND) for second in range(60)]
    run = sent(others * 3, [Flight(0, 60 * SECOND)])

    assert run.throughput == 3.0
    assert upper_rate(run, beside=run) == 4.0


def test_failures_as_long_as_successes_change_nothing():
    """Eight in flight all the time, one in ten of which fails: the slots do the rest at the same rate."""
    draw = random.Random(5)
    succeeded, failed = [], []
    for slot in range(8):
        for turn in range(50):
            start = turn * SECOND + slot * SECOND // 8
            (failed if draw.random() < 0.1 else succeeded).append(Flight(start, start + SECOND))

    run = sent(succeeded, failed)

    assert upper_rate(run, beside=run) == pytest.approx(8, rel=0.03)
    assert lower_rate(run) == run.throughput


def burst(*lengths, failed=()):
    """Everything is sent at once, and worked on one after the other."""
    run = one_at_a_time(*lengths, failed=failed)
    return sent(
        *([Flight(0, flight.end_ns) for flight in flights] for flights in (run.succeeded, run.failed))
    )


def test_requests_that_wait_for_one_that_fails_do_not_count_its_time():
    """Shares alone would leave out a tenth of the hour that the failure took."""
    reference = burst(*[SECOND] * 10)
    audit = burst(*[SECOND // 10] * 5, 3600 * SECOND, *[SECOND // 10] * 4, failed={5})

    assert audit.throughput < 0.01
    assert upper_rate(audit, beside=reference) == pytest.approx(9 / 1.9)
    assert not judge(reference, audit, threshold=0.1, sample_index=3).passed


def test_a_wait_no_longer_than_those_without_failures_is_shared_and_not_left_out():
    """A wave of answers a second, and one failure a wave, just before it: the others worked all the while."""
    waves = range(1, 11)
    succeeded = [Flight((wave - 1) * SECOND, wave * SECOND) for wave in waves for _ in range(19)]
    failed = [Flight((wave - 1) * SECOND, wave * SECOND - 1000) for wave in waves]
    clean = sent([Flight((wave - 1) * SECOND, wave * SECOND) for wave in waves for _ in range(20)])

    assert upper_rate(sent(succeeded, failed), beside=clean) == pytest.approx(20)


def test_successes_that_took_no_time_are_too_fast_whatever_failed():
    nothing = sent([Flight(5, 5)], [Flight(0, 10)])

    assert upper_rate(nothing, beside=nothing) == pytest.approx(1e9)


COUNT = 100_000


def test_a_hundred_thousand_requests_are_judged_in_no_time():
    run = sent([Flight(0, end) for end in range(1, COUNT)], [Flight(0, COUNT // 2)])

    assert upper_rate(run, beside=run) > run.throughput


# What is said of it.


def test_both_rates_stand_in_the_record_where_they_differ_and_are_explained():
    reference = one_at_a_time(*[SECOND] * 20)
    audit = one_at_a_time(*[SECOND // 2] * 19, 60 * SECOND, failed={19})

    result = judge(reference, audit, threshold=0.2, sample_index=3)

    assert not result.passed
    assert (result.details["ref_qps"], result.details["literal_ref_qps"]) == (1.0, 1.0)
    assert (result.details["audit_qps"], result.details["literal_audit_qps"]) == (2.0, 19 / 69.5)
    assert "Failures among the repeated requests: 1. The time they took is left out" in result.explanation
    assert "literal_audit_qps" not in judge(reference, reference, threshold=0.2, sample_index=3).details
