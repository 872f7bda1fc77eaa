"""By how much a metric may be off because of the client."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.bounds import parse_bound
from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.columns import gaps_between_tokens
from pytest_bench.metrics.statistics import describe
from pytest_bench.records import Moments, Usage
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
    assert found.uncertainty("time_to_first_token.stddev") == pytest.approx(np.hypot(3 * MS + 100, 100))
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


@st.composite
def streams(draw):
    """Streams of events that arrived at some time, each read with the next few; and when they truly arrived."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        gaps = draw(st.lists(st.integers(0, 50), min_size=1, max_size=12))
        true = np.cumsum([1000, *gaps])
        at, widths, start, empty = [], [], 0, 900
        while start < len(true):
            stop = min(len(true), start + draw(st.integers(1, 4)))
            stamp = int(true[stop - 1])
            at += [stamp] * (stop - start)
            widths += [stamp - empty] * (stop - start - 1) + [0]
            start, empty = stop, stamp
        found.append((true, at, widths))
    return found


def read_as(record, number, at, widths, **fields):
    """The record of a stream with these stamps, and uncertainties of them."""
    return record(
        number,
        send=0,
        first=at[0],
        gaps=np.diff(at).tolist(),
        uncertainty_ns=Moments(first_content=widths[0], last_content=widths[-1]),
        inner_uncertainty_ns=tuple(widths[1:-1]) if any(widths[1:-1]) else (),
        usage=Usage(output_tokens=len(at)),
        **fields,
    )


@pytest.mark.parametrize("reported", [False, True], ids=["one token an event", "tokens of every event"])
@given(drawn=streams(), data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixtures are plain functions
def test_however_events_were_read_together_every_statistic_of_their_gaps_is_within_its_uncertainty(
    record, measured, reported, drawn, data
):
    records, chunk_gaps, token_gaps = [], [], []
    for number, (true, at, widths) in enumerate(drawn):
        counts = data.draw(st.lists(st.integers(0, 3), min_size=len(at), max_size=len(at)))
        fields = {"content_event_tokens": tuple(counts)} if reported else {}
        records.append(read_as(record, number, at, widths, **fields))
        if len(set(at)) == 1:
            continue  # no time between events is known
        gaps = np.diff(true).tolist()
        chunk_gaps += gaps
        between, times = gaps_between_tokens(gaps, counts) if reported else (gaps, [1] * len(gaps))
        token_gaps += np.repeat(between, times).tolist()
    found = measured(records)
    for name, gaps in (("inter_chunk_latency", chunk_gaps), ("inter_token_latency", token_gaps)):
        for statistic, true in describe(np.sort(np.array(gaps, dtype=float))).items() if gaps else ():
            value = found.value(f"{name}.{statistic}")
            if value is not None and true is not None:
                assert abs(value - true) <= found.uncertainty(f"{name}.{statistic}") + 1e-6


def test_gaps_of_exact_stamps_have_no_uncertainty_and_say_so(record, measured):
    found = measured([record(0, send=0, first=MS, gaps=(MS, 2 * MS), usage=Usage(output_tokens=3))])
    for metric in ("inter_chunk_latency", "inter_token_latency"):
        assert set(found.metrics[metric].uncertainties) == set(found.metrics[metric].statistics)
        assert not any(found.metrics[metric].uncertainties.values())


def test_the_mean_gap_is_known_better_than_any_gap(record, measured):
    """Whatever lies between, all gaps of a stream take the time from its first event to its last."""
    at = [10 * MS, *[20 * MS] * 4, *[30 * MS] * 4]
    widths = [0, *[10 * MS] * 3, 0, *[10 * MS] * 3, 0]
    found = measured([read_as(record, 0, at, widths)])
    for metric in ("inter_chunk_latency", "inter_token_latency"):
        assert (found.value(f"{metric}.mean"), found.uncertainty(f"{metric}.mean")) == (2.5 * MS, 0)
        assert (found.value(f"{metric}.p50"), found.uncertainty(f"{metric}.p50")) == (0, 10 * MS)


def test_a_bound_on_gaps_within_their_uncertainty_is_inconclusive(record, measured):
    at, widths = [10 * MS, *[20 * MS] * 4], [0, *[10 * MS] * 3, 0]
    found = measured([read_as(record, 0, at, widths)])

    def outcome(text):
        return judge([parse_bound("inter_token_latency.p50", text, "ns")], found, implied=()).outcome

    assert outcome("<= 1ms") is Outcome.INCONCLUSIVE
    assert outcome("<= 11ms") is Outcome.PASS
    assert outcome(">= 11ms") is Outcome.FAIL


def test_a_log_with_another_number_of_uncertainties_than_events_is_damaged(record, measured):
    with pytest.raises(EvidenceError, match="2 gaps between content events, but 3 inner uncertainties"):
        measured([record(0, send=0, first=MS, gaps=(MS, MS), inner_uncertainty_ns=(1, 2, 3))])


def test_the_metrics_of_one_endpoint_have_uncertainties_too(record, measured):
    records = [
        record(number, send=0, first=10 * MS, endpoint=number, uncertainty_ns=Moments(first_content=number))
        for number in (0, 1)
    ]
    first, second = measured(records).endpoints
    assert first.metrics["time_to_first_token"].uncertainties["p50"] == 0
    assert second.metrics["time_to_first_token"].uncertainties["p50"] == 1


def test_a_connection_took_at_most_as_long_as_measured(record, measured):
    found = measured([record(0, send=0, first=MS, connect_ns=3 * MS)])
    assert found.uncertainty("connect_time.p50") == 3 * MS


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
