"""By how much a metric may be off because of the client."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.bounds import parse_bound
from pytest_bench.records import Moments
from pytest_bench.verdict.judge import judge
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.workload import Load

MS = 10**6
OPEN = Load(pattern="constant", rate=10.0, requests=10)


def test_a_time_to_first_token_is_as_uncertain_as_its_stamp_and_the_clock(record, measured):
    exact = record(0, send=0, first=10 * MS, gaps=(MS,))
    coalesced = record(1, send=0, first=20 * MS, gaps=(MS,), uncertainty_ns=Moments(first_content=3 * MS))
    found = measured([exact, coalesced], health={"clock_error_ns": 100})
    assert found.uncertainty("time_to_first_token.min") == 100
    assert found.uncertainty("time_to_first_token.max") == 3 * MS + 100
    assert found.uncertainty("time_to_first_token.mean") == 1.5 * MS + 100
    assert found.uncertainty("time_to_first_token.stddev") == 0
    assert found.uncertainty("request_latency.max") == 100


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300)), min_size=1, max_size=30), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixtures are plain functions
def test_whatever_each_request_was_within_its_uncertainty_every_percentile_is_within_its_own(
    record, measured, values, data
):
    records = [
        record(number, send=0, first=1000 + value, uncertainty_ns=Moments(first_content=width))
        for number, (value, width) in enumerate(values)
    ]
    found = measured(records)
    truth = np.sort([1000 + value - data.draw(st.integers(0, width)) for value, width in values])
    for name, share in (("p1", 0.01), ("p50", 0.5), ("p99", 0.99)):
        metric = f"time_to_first_token.{name}"
        true = np.quantile(truth, share, method="lower")
        assert abs(true - found.value(metric)) <= found.uncertainty(metric)


def test_a_time_per_output_token_shares_the_uncertainty_of_its_ends_among_its_tokens(
    record, measured, counts
):
    found = measured(
        [record(0, send=0, first=MS, gaps=(MS,) * 10, uncertainty_ns=Moments(last_content=5 * MS))],
        tokens=counts(r0=(1, 11, 1)),
        health={"clock_error_ns": 100},
    )
    assert found.value("time_per_output_token.p50") == MS
    assert found.uncertainty("time_per_output_token.p50") == 0.5 * MS
    assert found.uncertainty("output_token_throughput_per_user.p50") == pytest.approx(1000.0)


def test_a_time_from_the_schedule_is_as_uncertain_as_the_request_was_late(record, measured):
    found = measured([record(0, scheduled_ns=0, send=4 * MS, first=10 * MS)], load=OPEN)
    assert found.uncertainty("scheduled_time_to_first_token.p50") == 4 * MS
    assert found.uncertainty("time_to_first_token.p50") == 0


def test_a_throughput_is_as_uncertain_as_the_concurrency_was_vacant(record, measured):
    records = [record(number, send=0, last=1000 * MS) for number in range(8)]
    found = measured(records, health={"vacancy": 0.2})
    assert found.value("request_throughput") == 8
    assert found.uncertainty("request_throughput") == pytest.approx(2.0)
    assert measured(records).uncertainty("request_throughput") == 0


def test_goodput_is_as_uncertain_as_the_requests_near_its_limits(record, measured):
    records = [
        record(number, send=0, first=first * MS, uncertainty_ns=Moments(first_content=2 * MS))
        for number, first in enumerate((5, 9, 11, 20))
    ]
    slo = (parse_bound("time_to_first_token", "<= 10ms", "ns"),)
    found = measured(records, slo=slo)
    assert found.value("good_request_fraction") == 0.5
    assert found.uncertainty("good_request_fraction") == 0.25


def judged(found, text):
    bound = parse_bound("time_to_first_token.p50", text, "ns")
    return judge([bound], found, implied=())


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("<= 9ms", Outcome.INCONCLUSIVE),
        ("<= 10ms", Outcome.INCONCLUSIVE),
        ("<= 11ms", Outcome.INCONCLUSIVE),
        ("<= 12ms", Outcome.PASS),
        ("<= 7ms", Outcome.FAIL),
        (">= 7ms", Outcome.PASS),
        (">= 9ms", Outcome.INCONCLUSIVE),
        (">= 13ms", Outcome.FAIL),
    ],
)
def test_a_bound_within_the_uncertainty_of_a_value_is_never_met_and_never_missed(
    record, measured, text, outcome
):
    found = measured([record(0, send=0, first=10 * MS, uncertainty_ns=Moments(first_content=2 * MS))])
    judgement = judged(found, text)
    assert judgement.outcome is outcome
    [item] = judgement.bounds
    assert "10 ms ± 2 ms" in item.sentence
    assert item.is_met() == (outcome is Outcome.PASS)
    if outcome is Outcome.INCONCLUSIVE:
        assert "the limit lies within the uncertainty of the measurement" in item.sentence


def test_an_exact_value_shows_no_uncertainty(record, measured):
    found = measured([record(0, send=0, first=10 * MS)], health={"clock_error_ns": 90})
    [item] = judged(found, "<= 11ms").bounds
    assert "±" not in item.sentence


def test_uncertainties_are_part_of_the_wire_format(record, measured):
    found = measured([record(0, send=0, first=10 * MS, uncertainty_ns=Moments(first_content=2 * MS))])
    plain = msgspec.to_builtins(found.metrics["time_to_first_token"])
    assert plain["uncertainties"]["p99"] == 2 * MS
