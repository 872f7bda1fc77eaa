"""Shifts between two systems, their intervals, and decisions on a limit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.metrics.distributions import student_quantile
from pytest_bench.metrics.intervals import of_mean, wilson
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.metrics.shifts import (
    FIRST_STAGE,
    POWER,
    Recovered,
    Sampled,
    Tails,
    decide,
    mean_of_sessions,
    of_groups,
    of_pairs,
)

OLD = [1.00, 1.02, 0.99, 1.01, 0.98, 1.00]
NEW = [1.10, 1.13, 1.08, 1.12, 1.07, 1.11]
TAILS = Tails.of(1)


def test_the_interval_of_pairs_is_students():
    low, high = of_pairs(OLD, NEW).limits(0.025)
    assert (low, high) == pytest.approx(of_mean(np.subtract(NEW, OLD), 0.95))


def test_the_interval_of_groups_is_welchs():
    variances = [np.var(group, ddof=1) / len(group) for group in (OLD, NEW)]
    degrees = sum(variances) ** 2 / sum(variance**2 / 5 for variance in variances)
    half = student_quantile(0.975, degrees) * math.sqrt(sum(variances))
    shift = of_groups(OLD, NEW)
    assert shift.limits(0.025) == pytest.approx((shift.value - half, shift.value + half))


def test_the_spread_comes_from_the_first_stage_only():
    """So that the number of repeats, which follows from the spread, says nothing about later values."""
    more, wild = [*NEW, 1.1, 1.1], [*NEW, 9.0, -9.0]
    old = [*OLD, 1.0, 1.0]
    one, other = of_pairs(old, more), of_pairs(old, wild)
    assert one.error == other.error == pytest.approx(of_pairs(OLD, NEW).error * math.sqrt(6 / 8))
    assert one.degrees == other.degrees == FIRST_STAGE - 1


def test_drift_that_both_sessions_of_a_pair_share_cancels():
    drift = np.arange(6) * 10.0
    alone = of_pairs(OLD, NEW)
    assert of_pairs(OLD + drift, NEW + drift).error == pytest.approx(alone.error)
    assert of_groups(OLD + drift, NEW + drift).error > 50 * alone.error


@pytest.mark.parametrize("count", range(FIRST_STAGE))
def test_fewer_sessions_than_the_first_stage_have_no_interval(count):
    for shift in (of_pairs, of_groups):
        with pytest.raises(NotDefined, match="an interval needs 6"):
            shift(OLD[:count], NEW[:count])


def test_sessions_without_any_spread_have_no_interval():
    with pytest.raises(NotDefined, match="differ by the same amount"):
        of_pairs([1.0] * 6, [2.0] * 6)
    with pytest.raises(NotDefined, match="have the same value"):
        of_groups(OLD, [2.0] * 6)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_two_shares_have_newcombes_interval(count, other, data):
    won, new = data.draw(st.integers(0, count)), data.draw(st.integers(0, other))
    pairs = wilson(won, count, 0.95), wilson(new, other, 0.95)
    shift = Recovered(new / other - won / count, won / count, new / other, lambda _: pairs)
    low, high = shift.limits(0.025)
    assert -1 <= low <= shift.value <= high <= 1


def test_newcombes_example():
    """Newcombe 1998, table II, (a): 56 of 70 and 48 of 80; method 10 gives 0.0524 to 0.3339."""
    pairs = wilson(48, 80, 0.95), wilson(56, 70, 0.95)
    assert Recovered(0.2, 0.6, 0.8, lambda _: pairs).limits(0.025) == pytest.approx(
        (0.0524, 0.3339), abs=1e-4
    )


def test_the_number_of_repeats_is_steins():
    shift = Sampled("pairs", 0.0, 0.1 / math.sqrt(6), 5, 6)
    deviates = student_quantile(1 - TAILS.last, 5) + student_quantile(POWER, 5)
    assert shift.needed(TAILS.last, 0.05) == math.ceil((deviates * 0.1 / 0.05) ** 2)
    assert shift.needed(TAILS.last, 10.0) == FIRST_STAGE


@given(st.floats(-0.5, 0.5), st.floats(0.001, 0.2))
def test_the_number_of_repeats_does_not_depend_on_the_difference(value, resolution):
    at_zero = Sampled("pairs", 0.0, 0.02, 5, 6)
    assert at_zero._replace(value=value).needed(0.02, resolution) == at_zero.needed(0.02, resolution)


@pytest.mark.parametrize(
    ("value", "error", "answer"),
    [
        (0.20, 0.01, "worse"),
        (-0.10, 0.01, "not worse"),
        (0.05, 0.01, "cannot tell"),
        (0.20, 0.06, "cannot tell"),
        (1.00, 0.06, "worse"),
        (-1.00, 0.06, "not worse"),
    ],
)
def test_a_decision_needs_the_precision_or_a_difference_that_no_repeat_hides(value, error, answer):
    decision = decide(Sampled("pairs", value, error, 5, 6), 0.05, 0.05, TAILS)
    assert decision.answer == answer
    assert (decision.needed > 6) == (error > 0.01)


def test_uncertainty_of_the_measurement_is_not_repeated_away():
    shift = Sampled("pairs", 0.09, 0.005, 5, 6)
    assert decide(shift, 0.0, 0.1, TAILS).answer == "worse"
    uncertain = decide(shift, 0.0, 0.1, TAILS, uncertainty=0.1)
    assert (uncertain.answer, uncertain.needed) == ("cannot tell", None)


def test_the_error_is_divided_among_all_decisions():
    assert Tails.of(4).last == pytest.approx(Tails.of(1).last / 4)
    assert 2 * TAILS.early + TAILS.last == pytest.approx(0.025)


def test_the_mean_of_one_system_has_students_interval():
    assert mean_of_sessions(OLD).limits(0.025) == pytest.approx(of_mean(np.array(OLD), 0.95))
