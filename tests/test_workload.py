"""What follows from a load's fields is the same for everybody who asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load.schedule import arrivals_ns
from pytest_bench.workload import Load


def closed(**fields):
    return Load(pattern="concurrency", **fields)


def test_a_count_alone_is_exact_and_caps_the_requests_in_flight():
    load = closed(concurrency=1000, requests=100)
    assert (load.exact_requests, load.most_requests, load.peak_in_flight) == (100, 100, 100)


def test_a_count_that_a_duration_may_end_early_is_an_upper_bound():
    load = closed(concurrency=8, requests=100, duration_s=1.0)
    assert (load.exact_requests, load.most_requests, load.peak_in_flight) == (None, 100, 8)


def test_a_count_that_must_be_reached_together_with_a_duration_caps_nothing():
    load = closed(concurrency=1000, requests=100, duration_s=60.0, stop="and")
    assert (load.exact_requests, load.most_requests, load.peak_in_flight) == (None, None, 1000)


def test_a_duration_alone_leaves_the_number_of_requests_open():
    load = closed(concurrency=8, duration_s=1.0)
    assert (load.exact_requests, load.most_requests, load.peak_in_flight) == (None, None, 8)


@pytest.mark.parametrize(
    ("fields", "least"),
    [
        ({"requests": 5}, None),
        ({"duration_s": 3.0}, 3.0),
        ({"requests": 5, "duration_s": 3.0}, None),
        ({"requests": 5, "duration_s": 3.0, "stop": "and"}, 3.0),
    ],
)
def test_a_duration_is_a_minimum_unless_a_count_may_end_the_load_before(fields, least):
    assert closed(concurrency=1, **fields).least_duration_s == least


@pytest.mark.parametrize(("handover", "peak"), [("drain", 8), ("overlap", 12)])
def test_stages_add_up_their_requests_and_overlapping_ones_their_requests_in_flight(handover, peak):
    stages = (closed(concurrency=4, requests=10), Load(pattern="burst", concurrency=64, requests=8))
    load = Load(pattern="stages", stages=stages, handover=handover)
    assert (load.exact_requests, load.most_requests, load.peak_in_flight) == (18, 18, peak)


def test_one_stage_that_time_ends_leaves_the_whole_count_open():
    load = Load(
        pattern="stages", stages=(closed(concurrency=4, requests=10), closed(concurrency=4, duration_s=1))
    )
    assert (load.exact_requests, load.most_requests) == (None, None)


def test_an_open_loop_bounds_nothing_in_flight():
    poisson = Load(pattern="poisson", rate=5.0, requests=3)
    assert poisson.peak_in_flight is None
    assert Load(pattern="stages", stages=(closed(concurrency=4, requests=10), poisson)).peak_in_flight is None


@given(
    pattern=st.sampled_from(["constant", "poisson", "gamma", "trace"]),
    requests=st.none() | st.integers(1, 30),
    duration_s=st.none() | st.floats(0.05, 5),
    stop=st.sampled_from(["and", "or"]),
    trace=st.lists(st.integers(0, 10**10), min_size=1, max_size=20).map(sorted),
)
def test_the_schedule_issues_as_many_requests_as_the_load_says(pattern, requests, duration_s, stop, trace):
    if pattern == "trace":
        load = Load(pattern=pattern, trace_ns=tuple(trace), requests=requests, duration_s=duration_s)
    elif requests is None and duration_s is None:
        return
    else:
        load = Load(pattern=pattern, rate=10.0, requests=requests, duration_s=duration_s, stop=stop)
    issued = len(arrivals_ns(load, 0))
    assert load.exact_requests in {None, issued}
    assert load.most_requests is None or issued <= load.most_requests
