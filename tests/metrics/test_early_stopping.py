import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.metrics.early_stopping import estimate, minimum_passing, minimum_requests, rank_from_top


@pytest.mark.parametrize(
    ("over", "percentile", "passing"), [(0, 0.99, 459), (0, 0.90, 44), (1, 0.99, 661), (1, 0.90, 63)]
)
def test_the_number_of_requests_that_must_pass_follows_the_rules(over, percentile, passing):
    assert minimum_passing(over, percentile) == passing


@pytest.mark.parametrize(
    ("percentile", "floor"), [(0.50, 11), (0.90, 64), (0.95, 130), (0.99, 662), (0.999, 6_636)]
)
def test_the_minimum_of_requests_for_each_percentile_follows_the_rules(percentile, floor):
    assert minimum_requests(percentile) == floor
    assert rank_from_top(floor - 1, percentile) is None
    assert rank_from_top(floor, percentile) == 1


def test_661_requests_give_no_p99_and_662_give_the_maximum():
    latencies = np.arange(662, dtype=float)
    assert estimate(latencies[:661], 0.99) is None
    assert estimate(latencies, 0.99) == 661.0


def test_of_10000_latencies_the_77th_highest_is_the_estimate_of_p99():
    latencies = np.arange(1, 10_001, dtype=float)
    assert rank_from_top(10_000, 0.99) == 77
    assert estimate(latencies, 0.99) == 10_001 - 77


def test_of_a_million_latencies_the_9768th_highest_is_the_estimate_of_p99():
    assert rank_from_top(1_000_000, 0.99) == 9_768


@given(st.integers(2, 3_000), st.sampled_from([0.5, 0.9, 0.95, 0.97, 0.99]))
def test_the_estimate_discards_as_many_as_the_exact_binomial_tail_allows(count, percentile):
    slow = 1 - percentile
    tail = total = 0.0
    allowed = 0
    for events in range(count):
        total += math.exp(
            math.lgamma(count + 1)
            - math.lgamma(events + 1)
            - math.lgamma(count - events + 1)
            + events * math.log(slow)
            + (count - events) * math.log(percentile)
        )
        if total >= 0.01:
            break
        allowed, tail = events, total
    assert tail < 0.01
    assert rank_from_top(count, percentile) == (allowed or None)


@given(st.integers(0, 500), st.sampled_from([0.5, 0.9, 0.99]))
def test_one_more_slow_request_asks_for_more_that_pass(over, percentile):
    assert minimum_passing(over + 1, percentile) > minimum_passing(over, percentile)
