import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bench.evals.estimates import Statistic, estimate, pass_at_k, share_test
from pytest_bench.metrics.intervals import wilson
from pytest_bench.metrics.observed import NotDefined


def by_item(values):
    return {str(place): [value] for place, value in enumerate(values)}


def test_a_binary_score_has_wilsons_interval():
    # 8 of 10 at 95 %: Wilson's interval as in Agresti and Coull 1998, (0.490, 0.943)
    found = estimate(by_item([1.0] * 8 + [0.0] * 2), binary=True)
    assert (found.n, found.items, found.value, found.method) == (10, 10, 0.8, "wilson")
    assert found.interval == pytest.approx((0.490, 0.943), abs=5e-4)
    assert found.stderr == pytest.approx(statistics.stdev([1] * 8 + [0] * 2) / math.sqrt(10))


def test_other_scores_have_students_interval():
    values = [0.1, 0.2, 0.4, 0.4]
    found = estimate(by_item(values), binary=False)
    half = 3.182446 * statistics.stdev(values) / 2
    assert found.method == "t"
    assert found.interval == pytest.approx((0.275 - half, 0.275 + half), rel=1e-6)


def test_repeats_of_an_item_are_one_cluster():
    alike = {str(item): [float(item % 2)] * 50 for item in range(20)}
    found = estimate(alike, binary=True)
    assert (found.n, found.items, found.method) == (1000, 20, "t")
    assert found.stderr == estimate(by_item([float(item % 2) for item in range(20)]), binary=True).stderr


def test_a_bootstrap_depends_on_its_seed_alone_and_covers_the_mean():
    values = by_item([(place * 0.61803) % 1 for place in range(30)])
    first, again, other = (
        estimate(values, binary=False, spread="bootstrap", seed=seed) for seed in (1, 1, 2)
    )
    assert (first.method, first) == ("bootstrap", again)
    assert first.interval != other.interval
    assert first.interval[0] < first.value < first.interval[1]
    student = estimate(values, binary=False).interval
    assert first.interval == pytest.approx(student, abs=0.1)


def test_a_single_item_has_no_standard_error():
    found = estimate({"a": [0.5, 1.0]}, binary=False)
    assert (found.value, found.stderr, found.interval) == (0.75, None, None)


@pytest.mark.parametrize("values", [{}, {"a": []}])
def test_no_values_have_no_estimate(values):
    with pytest.raises(NotDefined):
        estimate(values, binary=True)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.sampled_from(["t", "bootstrap"]))
def test_intervals_stay_within_the_range_of_scores(values, spread):
    found = estimate(by_item(values), binary=False, spread=spread)
    low, high = found.interval
    assert 0 <= low <= found.value + 1e-9
    assert found.value - 1e-9 <= high <= 1


@pytest.mark.parametrize(
    ("correct", "count", "k", "expected"),
    [(0, 4, 1, 0), (1, 4, 1, 0.25), (1, 4, 2, 0.5), (2, 4, 2, 1 - 1 / 6), (3, 4, 2, 1), (4, 4, 4, 1)],
)
def test_pass_at_k_is_the_unbiased_estimate(correct, count, k, expected):
    assert pass_at_k(correct, count, k) == pytest.approx(expected)


def test_pass_at_k_is_undefined_for_fewer_repeats_than_k():
    with pytest.raises(NotDefined, match="pass@3 needs 3 repeats of each item; there are 2"):
        pass_at_k(2, 2, 3)


@pytest.mark.parametrize(("correct", "count", "k"), [(3, 2, 1), (-1, 2, 1), (1, 2, 0)])
def test_pass_at_k_of_an_impossible_count_is_an_error(correct, count, k):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(correct, count, k)


@settings(deadline=None)
@given(st.integers(1, 300), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_share_test_is_the_inversion_of_wilsons_interval(count, data, confidence):
    successes = data.draw(st.integers(0, count))
    low, high = wilson(successes, count, confidence)
    z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2)
    if low > 1e-9:
        assert share_test(successes / count, count, low).z == pytest.approx(z, rel=1e-6)
    if high < 1 - 1e-9:
        assert share_test(successes / count, count, high).z == pytest.approx(-z, rel=1e-6)


@pytest.mark.parametrize(
    ("z", "freedom", "expected"),
    # quantiles of Student's t from tables
    [(1.812461, 10, 0.05), (-1.812461, 10, 0.95), (6.313752, 1, 0.05), (1.644854, None, 0.05), (0, 3, 0.5)],
)
def test_p_values_are_those_of_tables(z, freedom, expected):
    assert Statistic(z, freedom).p_above == pytest.approx(expected, rel=1e-5)
    assert Statistic(-z, freedom).p_below == pytest.approx(expected, rel=1e-5)


def test_students_interval_covers_the_truth_as_often_as_stated():
    random = np.random.default_rng(1)
    draws = [random.beta(2, 5, 12) for _ in range(2000)]
    covered = sum(
        low <= 2 / 7 <= high for low, high in (estimate(by_item(d), binary=False).interval for d in draws)
    )
    assert 0.93 < covered / 2000 < 0.97
