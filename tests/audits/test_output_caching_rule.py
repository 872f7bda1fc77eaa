"""The rule of output-caching, on phases made by hand."""

from __future__ import annotations

import dataclasses

import pytest
from audit_runs import SECOND, run
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.audits import FailedRequests
from pytest_bench.audits.output_caching import DEFAULT_THRESHOLD, judge
from pytest_bench.audits.rates import enough, needed
from pytest_bench.audits.ratio import ratio_interval


def verdict(reference, audit, threshold=0.10, **more):
    return judge(reference, audit, threshold=threshold, sample_index=3, **more)


def test_a_repeated_sample_at_the_reference_rate_passes():
    result = verdict(run(rate=100), run("output_caching", rate=100))

    assert result.passed
    assert result.lines == ("Performance check pass: True",)


def test_a_repeated_sample_far_above_the_reference_rate_fails():
    result = verdict(run(rate=100), run("output_caching", rate=1000))

    assert not result.passed
    assert result.lines == ("Performance check pass: False",)
    assert "answers a repeated request faster than a new one" in result.explanation


def jittered(label, rate):
    """A phase of 40 completions, whose batches of four take half or one and a half times the mean in turn."""
    even = run(label, requested=40, rate=rate)
    gaps = [(1.5 if number // 4 % 2 else 0.5) / rate for number in range(40)]
    ends = tuple(round(sum(gaps[: number + 1]) * SECOND) for number in range(40))
    return dataclasses.replace(even, completions_ns=ends)


@pytest.mark.parametrize(
    ("rate", "passed", "said"),
    [
        (105, True, "is below the limit, but its interval reaches above it: a cache is not ruled out"),
        (115, False, "the interval reaches below the limit, so this may be chance, and another run may pass"),
    ],
)
def test_a_ratio_whose_interval_contains_the_limit_is_reported_as_uncertain(rate, passed, said):
    result = verdict(jittered("reference", 100), jittered("output_caching", rate))
    interval = result.details["ratio_interval"]
    assert interval["low"] < 1.1 < interval["high"]
    assert result.passed is passed
    assert said in result.explanation
    assert "Nothing indicates" not in result.explanation


def test_any_slower_audit_phase_passes():
    assert verdict(run(rate=100), run("output_caching", rate=1)).passed


@pytest.mark.parametrize(
    ("rate", "threshold", "passed"),
    [
        (109.9, 0.10, True),
        (110.1, 0.10, False),
        (119.9, 0.20, True),
        (120.1, 0.20, False),
        (125.0, 0.25, False),  # 100 x 1.25 is exact in binary: the limit itself fails
    ],
)
def test_the_rate_decides_just_below_and_just_above_the_threshold(rate, threshold, passed):
    reference = run(requested=1000, seconds=10)
    audit = run("output_caching", requested=1000, seconds=1000 / rate)

    assert verdict(reference, audit, threshold).passed is passed


def test_110_against_100_at_a_tenth_passes_as_it_does_upstream_in_binary_floating_point():
    # 100 * 1.1 is 110.00000000000001.
    reference = run(requested=100, seconds=1)
    audit = run("output_caching", requested=110, seconds=1)

    assert audit.throughput == 110.0
    assert verdict(reference, audit).passed


def test_the_guard_is_exact_where_floating_point_is_not():
    # 150 x (1 - 0.18) is 123.00000000000001 in binary: upstream would ask for 124.
    assert 150 * (1.0 - 0.18) > 123
    assert needed(run(requested=150), 0.18) == 123
    assert enough(run(requested=150, completed=123), 0.18)
    assert not enough(run(requested=150, completed=122), 0.18)


def phases_with_failures(phase, *, requested=100, completed=89, rate=50):
    phases = [run(rate=100), run("output_caching", rate=50)]
    phases[phase] = run(phases[phase].label, requested=requested, completed=completed, rate=rate)
    return phases


@pytest.mark.parametrize("phase", [0, 1])
@pytest.mark.parametrize("completed", [99, 89, 1])
@pytest.mark.parametrize("rate", [50, 1000])
def test_a_failed_request_is_an_error_that_says_what_to_do_whatever_the_rates(phase, completed, rate):
    phases = phases_with_failures(phase, completed=completed, rate=rate)

    with pytest.raises(FailedRequests) as raised:
        verdict(*phases)

    assert raised.value.code == "failures-in-rate"
    message = str(raised.value)
    assert f"{100 - completed} of 100 in phase '{phases[phase].label}'" in message
    assert f"phases/{phases[phase].label}" in message
    assert "`tolerate_failures: true`" in message


@pytest.mark.parametrize("phase", [0, 1])
def test_tolerated_failures_are_judged_by_mlperfs_guard(phase):
    below, at = (phases_with_failures(phase, completed=completed) for completed in (89, 90))

    failed, passed = (verdict(*phases, tolerate_failures=True) for phases in (below, at))

    assert passed.passed
    assert not failed.passed
    assert failed.reason.startswith("Phase incomplete: ")
    assert f"{below[phase].label!r}: 89 of 100 requests succeeded, and at least 90 must" in failed.explanation


def test_tolerated_failures_are_judged_by_mlperfs_rate_and_label_the_point():
    """Successes over the whole window: 95 in one second, of which ten hung."""
    holed = run("output_caching", requested=100, completed=95, seconds=1)

    passes = verdict(run(requested=100, rate=87), holed, tolerate_failures=True)
    fails = verdict(run(requested=100, rate=86), holed, tolerate_failures=True)

    assert holed.throughput == 95
    assert (passes.passed, fails.passed) == (True, False)  # 95 against 95.7, and against 94.6
    assert passes.labels == ("failures-tolerated",)
    assert passes.details["audit_qps"] == 95
    assert "5 requests failed, which `tolerate_failures` allows" in passes.explanation


def test_tolerance_without_a_failure_changes_nothing():
    assert verdict(run(), run("output_caching"), tolerate_failures=True) == verdict(
        run(), run("output_caching")
    )


@pytest.mark.parametrize("phase", [0, 1])
def test_a_phase_that_issued_too_few_requests_fails_by_the_guard(phase):
    """Cut off by its own maximum duration, without a failure."""
    phases = [run(rate=100), run("output_caching", rate=50)]
    phases[phase] = run(phases[phase].label, requested=100, completed=89, failed=0, rate=50)

    result = verdict(*phases)

    assert not result.passed
    assert result.reason.startswith("Phase incomplete: ")
    assert f"phases/{phases[phase].label}" in result.explanation


def test_the_default_threshold_is_a_tenth_for_every_load():
    """`OutputCachingTestConfig.threshold` of mlcommons/endpoints."""
    assert DEFAULT_THRESHOLD == 0.10


def test_single_stream_shows_the_early_stopped_p90_of_64_requests_and_more():
    shown = verdict(run(requested=64), run("output_caching", requested=64), single_stream=True).details
    few = verdict(run(requested=63), run("output_caching", requested=63), single_stream=True).details

    assert shown["early_stopping_p90_ns"] == {"reference": 10_000_000, "output_caching": 10_000_000}
    assert few["early_stopping_p90_ns"] == {"reference": None, "output_caching": None}


def test_the_early_stopped_p90_decides_nothing():
    fast = run("output_caching", requested=64, rate=100)
    result = verdict(run(requested=64, rate=100), fast, 0.20, single_stream=True)

    assert result.passed
    assert "early_stopping_p90_ns" not in verdict(run(), run()).details


def test_the_interval_of_the_ratio_is_shown_where_both_phases_have_20_completions():
    assert verdict(run(requested=19), run(requested=100)).intervals == ()
    assert verdict(run(requested=100), run(requested=19)).details["ratio_interval"] is None
    (interval,) = verdict(run(requested=20), run(requested=20)).intervals
    assert (interval.low, interval.high) == pytest.approx((1, 1))


def test_answers_that_come_in_one_wave_have_no_interval():
    wave = [SECOND + number for number in range(100)]

    assert ratio_interval(0, wave, (0, wave), 0.95) is None


@given(st.lists(st.integers(2 * 10**8, 10**9), min_size=20, max_size=80), st.integers(2, 50))
def test_the_interval_contains_the_ratio_of_mean_gaps_and_inverts_with_it(gaps, factor):
    times = [sum(gaps[: place + 1]) for place in range(len(gaps))]
    fast = [time // factor + place + 1 for place, time in enumerate(times)]

    low, high = ratio_interval(0, fast, (0, times), 0.95)
    low_back, high_back = ratio_interval(0, times, (0, fast), 0.95)

    assert low <= times[-1] / fast[-1] * (1 + 1e-9)
    assert high >= times[-1] / fast[-1] * (1 - 1e-9)
    assert (low, high) == pytest.approx((1 / high_back, 1 / low_back))


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says():
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(7)
    covered = 0
    for _ in range(400):
        reference = numpy.cumsum(random.exponential(SECOND, 60))
        audit = numpy.cumsum(random.exponential(SECOND / 2, 60))
        low, high = ratio_interval(0, audit, (0, reference), 0.95)
        covered += low <= 2 <= high

    assert 0.91 <= covered / 400 <= 0.99


def test_the_record_holds_what_upstream_writes_and_more():
    details = verdict(run(requested=30), run("output_caching", requested=20)).details

    assert {
        "ref_qps",
        "audit_qps",
        "threshold",
        "ref_completed",
        "ref_requested",
        "audit_completed",
        "audit_requested",
    } <= details.keys()
