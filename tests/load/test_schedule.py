import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.errors import UsageError
from pytest_bench.load.schedule import arrivals_ns, phase_length_ns
from pytest_bench.workload import Load

SECOND = 10**9
RATED = st.sampled_from(["constant", "poisson", "gamma"])
RATES = st.floats(1, 5000)
SEEDS = st.integers(0, 2**32)


@given(RATED, RATES, SEEDS, st.integers(1, 500), st.integers(1, 500))
def test_a_longer_phase_begins_with_the_arrivals_of_a_shorter_one(pattern, rate, seed, few, more):
    few, more = sorted((few, few + more))
    shorter = arrivals_ns(Load(pattern=pattern, rate=rate, requests=few), seed)
    longer = arrivals_ns(Load(pattern=pattern, rate=rate, requests=more), seed)
    assert (len(shorter), len(longer)) == (few, more)
    assert np.array_equal(longer[:few], shorter)


@given(RATED, RATES, SEEDS, st.integers(1, 400), st.floats(0, 2))
def test_arrivals_ascend_and_the_seed_alone_decides_them(pattern, rate, seed, requests, ramp_s):
    load = Load(pattern=pattern, rate=rate, requests=requests, ramp_s=ramp_s, burstiness=0.5)
    times = arrivals_ns(load, seed)
    assert np.all(np.diff(times) >= 0)
    assert times[0] >= 0
    assert np.array_equal(times, arrivals_ns(load, seed))


@given(RATES, SEEDS, st.integers(1, 400), st.floats(0.01, 1))
def test_requests_and_duration_end_a_phase_at_the_earlier_or_at_the_later(rate, seed, requests, duration_s):
    def times(**limits):
        return arrivals_ns(Load(pattern="poisson", rate=rate, **limits), seed)

    by_count, by_time = times(requests=requests), times(duration_s=duration_s)
    assert np.all(by_time < duration_s * SECOND)
    both = {"requests": requests, "duration_s": duration_s}
    assert np.array_equal(times(**both, stop="or"), min(by_count, by_time, key=len))
    lasting = times(duration_s=duration_s, stop="and")
    assert np.array_equal(times(**both, stop="and"), max(by_count, lasting, key=len))


@given(RATED, RATES, SEEDS, st.floats(0.01, 1), st.floats(0, 2))
def test_an_enforced_duration_lies_between_the_first_arrival_and_the_first_that_makes_it(
    pattern, rate, seed, duration_s, ramp_s
):
    load = Load(pattern=pattern, rate=rate, duration_s=duration_s, ramp_s=ramp_s, stop="and")
    times = arrivals_ns(load, seed)
    lasted = times - times[0]
    assert lasted[-1] >= round(duration_s * SECOND) > lasted[-2]
    assert phase_length_ns(load, times) == times[-1]


def test_a_phase_lasts_for_its_duration_even_after_its_last_arrival():
    load = Load(pattern="constant", rate=1.0, duration_s=2.5)
    times = arrivals_ns(load, 0)
    assert times.tolist() == [0, SECOND, 2 * SECOND]
    assert phase_length_ns(load, times) == 2.5 * SECOND
    counted = Load(pattern="constant", rate=1.0, duration_s=9.0, requests=2)
    assert phase_length_ns(counted, arrivals_ns(counted, 0)) == SECOND
    enforced = Load(pattern="constant", rate=1.0, duration_s=9.0, requests=2, stop="and")
    assert arrivals_ns(enforced, 0).tolist() == [second * SECOND for second in range(10)]
    assert phase_length_ns(enforced, arrivals_ns(enforced, 0)) == 9 * SECOND


def test_constant_arrivals_are_evenly_spaced_from_the_start():
    times = arrivals_ns(Load(pattern="constant", rate=250.0, requests=100_000), 5)
    assert np.array_equal(times, np.arange(100_000) * 4_000_000)


def test_a_trace_is_replayed_as_it_is_and_cut_where_a_limit_says():
    trace = (0, 5, 5, 90, 2 * SECOND)
    assert arrivals_ns(Load(pattern="trace", trace_ns=trace), 0).tolist() == list(trace)
    assert arrivals_ns(Load(pattern="trace", trace_ns=trace, requests=3), 0).tolist() == [0, 5, 5]
    assert arrivals_ns(Load(pattern="trace", trace_ns=trace, duration_s=1.0), 0).tolist() == [0, 5, 5, 90]


def kolmogorov_smirnov_p(gaps, rate):
    """Asymptotic p-value of exponential gaps, with Stephens' correction (JASA 69, 1974)."""
    count = len(gaps)
    expected = -np.expm1(-np.sort(gaps) * rate)
    ranks = np.arange(count + 1) / count
    distance = max(np.max(ranks[1:] - expected), np.max(expected - ranks[:-1]))
    scaled = (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)) * distance
    return 2 * math.fsum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))


def dispersion(times, bin_ns):
    counts = np.bincount(times // bin_ns)[:-1]
    return counts.var(ddof=1) / counts.mean(), len(counts)


@pytest.mark.parametrize("seed", [0, 1, 7, 42])
def test_poisson_arrivals_are_poisson_in_gaps_and_in_counts(seed):
    times = arrivals_ns(Load(pattern="poisson", rate=1000.0, duration_s=60.0), seed)
    assert kolmogorov_smirnov_p(np.diff(times) / SECOND, 1000.0) > 0.01
    index, bins = dispersion(times, SECOND // 100)
    assert abs(index - 1) * math.sqrt((bins - 1) / 2) < 2.58


@pytest.mark.parametrize("burstiness", [0.25, 1.0, 4.0])
def test_gamma_gaps_have_the_rate_and_the_variance_that_burstiness_means(burstiness):
    times = arrivals_ns(Load(pattern="gamma", rate=500.0, requests=200_000, burstiness=burstiness), 3)
    gaps = np.diff(times) / SECOND
    assert gaps.mean() == pytest.approx(1 / 500, rel=0.02)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(1 / burstiness, rel=0.05)


@pytest.mark.parametrize("pattern", ["constant", "poisson"])
def test_a_ramp_lets_the_rate_grow_evenly_and_then_holds_it(pattern):
    times = arrivals_ns(Load(pattern=pattern, rate=2000.0, duration_s=20.0, ramp_s=10.0), 11)

    def until(seconds):
        return np.searchsorted(times, seconds * SECOND)

    for seconds in (2.0, 5.0, 10.0):  # the integral of a rate that grows from zero
        assert until(seconds) == pytest.approx(
            2000 * seconds**2 / 20, abs=4 * math.sqrt(2000 * seconds**2 / 20)
        )
    assert until(20.0) - until(10.0) == pytest.approx(20_000, abs=600)


def test_the_arrivals_of_a_seed_are_the_same_in_every_release():
    times = arrivals_ns(Load(pattern="poisson", rate=100.0, requests=4), 7)
    assert times.tolist() == [7075293, 17327326, 23012813, 31963911]
    times = arrivals_ns(Load(pattern="gamma", rate=100.0, requests=4, burstiness=2.0), 7)
    assert times.tolist() == [8341276, 15027355, 20756861, 29484480]


@pytest.mark.parametrize(
    "load",
    [
        Load(pattern="poisson", requests=5),
        Load(pattern="constant", rate=5.0),
        Load(pattern="concurrency", rate=5.0, requests=5),
    ],
)
def test_a_load_without_arrivals_or_without_an_end_is_refused(load):
    with pytest.raises(UsageError):
        arrivals_ns(load, 0)
