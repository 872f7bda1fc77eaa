import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.metrics import intervals
from pytest_bench.metrics.distributions import beta_cdf, binomial_cdf, student_cdf, student_quantile


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_binomial_equals_its_sum(events, trials, probability):
    exact = sum(
        math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k)
        for k in range(min(events, trials) + 1)
    )
    assert binomial_cdf(events, trials, probability) == pytest.approx(min(exact, 1.0), rel=1e-9, abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 500), st.floats(0.5, 500))
def test_the_incomplete_beta_is_symmetric(x, a, b):
    assert beta_cdf(x, a, b) + beta_cdf(1 - x, b, a) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.975, 1, 12.7062047), (0.975, 19, 2.0930241), (0.95, 5, 2.0150484), (0.995, 100, 2.6258905)],
)
def test_quantiles_of_students_t_equal_published_tables(probability, degrees, quantile):
    assert student_quantile(probability, degrees) == pytest.approx(quantile, rel=1e-7)
    assert student_cdf(quantile, degrees) == pytest.approx(probability, rel=1e-7)


def test_the_wilson_interval_of_ten_in_a_hundred_equals_the_literature():
    low, high = intervals.wilson(10, 100, 0.95)
    assert (low, high) == (pytest.approx(0.05523, abs=1e-5), pytest.approx(0.17437, abs=1e-5))


@given(st.integers(0, 1_000), st.integers(1, 1_000), st.floats(0.5, 0.999))
def test_wilson_holds_the_share_and_stays_within_zero_and_one(successes, count, confidence):
    successes = min(successes, count)
    low, high = intervals.wilson(successes, count, confidence)
    assert 0 <= low <= successes / count <= high <= 1


def test_nothing_has_no_interval():
    assert intervals.wilson(0, 0, 0.95) is None
    assert intervals.of_mean(np.array([1.0]), 0.95) is None
    assert intervals.of_percentile(np.arange(5.0), 0.99, 0.95) is None
    assert intervals.of_rate(np.arange(5), 0, 100, 0.95) is None


def test_the_median_of_ten_lies_between_the_second_and_the_ninth():
    # P(B <= 1) = 11/1024 < 0.025 and P(B <= 2) > 0.025, for B binomial (10, 1/2).
    assert intervals.of_percentile(np.arange(1.0, 11.0), 0.5, 0.95) == (2.0, 9.0)


@given(st.integers(20, 2_000), st.sampled_from([0.5, 0.9, 0.95]), st.sampled_from([0.9, 0.95, 0.99]))
def test_a_percentile_interval_covers_with_at_least_its_confidence(count, share, confidence):
    pair = intervals.of_percentile(np.arange(1.0, count + 1), share, confidence)
    if pair is not None:
        low, high = int(pair[0]), int(pair[1])
        covered = binomial_cdf(high - 1, count, share) - binomial_cdf(low - 1, count, share)
        assert covered >= confidence - 1e-9


def test_a_mean_interval_by_hand():
    low, high = intervals.of_mean(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0.95)
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert (low, high) == (pytest.approx(3 - half), pytest.approx(3 + half))


def test_a_perfectly_steady_rate_has_a_narrow_interval():
    low, high = intervals.of_rate(np.arange(0, 10_000_000_000, 10_000_000), 0, 10_000_000_000, 0.95)
    assert low == pytest.approx(100.0)
    assert high == pytest.approx(100.0)


@given(
    share=st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99]),
    confidence=st.floats(0.5, 0.999),
)
def test_the_interval_of_a_percentile_needs_exactly_the_stated_number_of_values(share, confidence):
    needed = intervals.values_needed_for_percentile(share, confidence)
    assert intervals.of_percentile(np.zeros(needed), share, confidence) is not None
    assert intervals.of_percentile(np.zeros(needed - 1), share, confidence) is None
