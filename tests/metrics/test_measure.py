import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.bounds import parse_bound
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import canonical_json
from pytest_bench.metrics.columns import read_columns
from pytest_bench.metrics.definitions import COUNTS_TOKENS, DEFINITIONS
from pytest_bench.metrics.measure import measure, steady_state_of
from pytest_bench.metrics.measurement import Measurement, Window
from pytest_bench.metrics.names import all_names, slo_unit_of, unit_of
from pytest_bench.records import Usage
from pytest_bench.workload import Load

MS = 1_000_000
S = 1_000_000_000
NOBODY = "no tokenizer was found, and the server reports no usage"
BURST = Load(pattern="burst", requests=2)
POISSON = Load(pattern="poisson", rate=10.0, requests=2)


def slo(**limits):
    return tuple(parse_bound(name, text, slo_unit_of(name)) for name, text in limits.items())


def test_latencies_of_a_stream_by_hand(record, measured, counts):
    stream = record(0, send=100 * MS, first=150 * MS, gaps=(10 * MS, 30 * MS), first_output_ns=160 * MS)
    result = measured([stream], tokens=counts(r0=(7, 5, 1)))
    assert result.value("time_to_first_token.p50") == 50 * MS
    assert result.value("time_to_first_output_token.p50") == 60 * MS
    assert result.value("request_latency.max") == 90 * MS
    assert result.value("time_per_output_token.mean") == 10 * MS
    assert result.value("output_token_throughput_per_user.p50") == 100.0
    assert result.value("input_tokens.mean") == 7
    assert result.value("output_tokens.mean") == 5


def test_the_tokens_of_the_first_event_are_no_part_of_time_per_output_token(record, measured, counts):
    stream = record(0, send=0, first=5 * MS, gaps=(12 * MS,))
    assert measured([stream], tokens=counts(r0=(1, 7, 4))).value("time_per_output_token.p50") == 4 * MS


def test_a_stream_with_all_tokens_in_its_first_event_has_no_time_per_output_token(record, measured, counts):
    result = measured([record(0, send=0, first=5 * MS)], tokens=counts(r0=(1, 4, 4)))
    assert result.value("time_per_output_token.p50") is None
    assert "a token after its first content event" in result.reason("time_per_output_token.p50")


def test_content_that_all_came_with_one_stamp_has_no_time_per_output_token(record, measured, counts):
    """A proxy that buffers a whole answer: no bound on the time between tokens is met by a time of zero."""
    result = measured([record(0, send=0, first=5 * MS, gaps=(0,) * 30)], tokens=counts(r0=(1, 31, 1)))
    assert result.value("time_per_output_token.p50") is None
    assert "the same time stamp" in result.reason("time_per_output_token.p50")


def test_our_time_per_output_token_leaves_out_all_tokens_of_the_first_event(record, measured, counts):
    stream = record(0, send=0, first=5 * MS, gaps=(30 * MS,) * 3)
    result = measured([stream], tokens=counts(r0=(1, 12, 3)))
    assert result.value("time_per_output_token.p50") == 10 * MS  # 90 ms / 9; LoadGen and vLLM have 90 ms / 11


BETWEEN_EVENTS = [
    "time_per_output_token.p50",
    "output_token_throughput_per_user.p50",
    "inter_chunk_latency.p50",
    "inter_token_latency.p50",
]


def test_streams_that_came_at_once_have_no_time_between_events(record, measured, counts):
    streams = [record(i, send=0, first=5 * MS, gaps=(0,) * 30) for i in range(3)]
    limits = slo(time_per_output_token="<= 10ms")
    tokens = counts(**{f"r{i}": (1, 31, 1) for i in range(3)})
    result = measured(streams, tokens=tokens, slo=limits)
    for name in [*BETWEEN_EVENTS, "goodput"]:
        assert result.value(name) is None, name
        assert result.reason(name) == (
            "in 3 of 3 streams all content events have the same time stamp: they came at once, as through a proxy that "
            "buffers responses"
        )
    assert result.value("time_to_first_token.p50") == 5 * MS
    assert result.value("output_token_throughput") > 0


def test_a_few_streams_that_came_at_once_are_left_out_and_counted(record, measured, counts):
    def run(buffered):
        streams = [
            record(i, send=0, first=5 * MS, gaps=(0, 0) if i < buffered else (9 * MS, 9 * MS))
            for i in range(100)
        ]
        return measured(streams, tokens=counts(**{f"r{i}": (1, 3, 1) for i in range(100)}))

    few = run(1)
    for name in BETWEEN_EVENTS:
        assert few.value(name) in (9 * MS, pytest.approx(1000 / 9)), name
    assert few.metrics["time_per_output_token"].count == 99
    for name in ("time_per_output_token", "inter_chunk_latency"):
        assert few.metrics[name].note.startswith(
            "in 1 of 100 streams all content events have the same time stamp"
        )
    many = run(2)
    assert all(many.value(name) is None for name in BETWEEN_EVENTS)


def test_hidden_tokens_after_the_only_content_event_give_no_time_per_output_token(record, measured, counts):
    result = measured([record(0, send=0, first=5 * MS)], tokens=counts(r0=(1, 8, 1)))
    assert result.value("time_per_output_token.p50") is None


def test_token_counts_of_a_server_take_no_memory_of_their_size(record, measured):
    stream = record(0, send=0, first=MS, gaps=(MS,), content_event_tokens=(1, 1 << 24))
    tracemalloc.start()
    result = measured([stream])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.metrics["inter_token_latency"].count == 1 << 24
    assert peak < 16 << 20


def test_latencies_count_successes_only(record, measured):
    records = [
        record(0, send=0, first=10 * MS, gaps=(MS,)),
        record(1, send=0, first=900 * MS, gaps=(MS,), outcome="failed", error="truncated_stream"),
        record(2, send=0, first=800 * MS, gaps=(MS,), outcome="interrupted"),
    ]
    result = measured(records)
    assert result.value("time_to_first_token.max") == 10 * MS
    assert result.value("request_latency.max") == 11 * MS
    assert result.metrics["inter_chunk_latency"].count == 1
    assert result.failures == {"truncated_stream": 1}
    assert (result.issued, result.succeeded, result.failed, result.interrupted) == (3, 1, 1, 1)


def test_failures_are_counted_and_the_rate_is_of_requests_that_ended(record, measured):
    records = [
        record(0, last=MS),
        record(1, outcome="failed"),
        record(2, outcome="failed", error="timeout"),
        record(3, outcome="interrupted"),
    ]
    result = measured(records)
    assert result.value("failed_requests") == 2
    assert result.value("error_rate") == pytest.approx(2 / 3)


def test_scheduled_latencies_count_the_wait_before_sending(record, measured):
    late = record(0, scheduled_ns=0, send=40 * MS, first=50 * MS, gaps=(10 * MS,))
    result = measured([late], load=POISSON)
    assert result.value("scheduled_time_to_first_token.p50") == 50 * MS
    assert result.value("scheduled_request_latency.p50") == 60 * MS
    assert result.value("schedule_lateness.p50") == 40 * MS
    assert result.value("time_to_first_token.p50") == 10 * MS


def test_a_closed_loop_has_no_scheduled_latencies(record, measured):
    result = measured([record(0, send=0, first=MS)])
    assert result.value("scheduled_time_to_first_token.p99") is None
    assert "closed loop" in result.reason("scheduled_time_to_first_token.p99")


def test_a_burst_is_never_late(record, measured):
    result = measured([record(0, scheduled_ns=0, send=40 * MS, last=50 * MS)], load=BURST)
    assert result.value("schedule_lateness.p99") is None
    assert result.value("scheduled_request_latency.p50") == 50 * MS


def test_a_response_that_is_not_streamed_has_latency_and_no_first_token(record, measured):
    result = measured([record(0, send=0, last=5 * MS)])
    assert result.value("request_latency.p50") == 5 * MS
    assert result.reason("time_to_first_token.p50").startswith("not streamed")
    assert result.value("inter_chunk_latency.p50") is None


def test_throughputs_are_over_first_issue_to_last_completion(record, measured, counts):
    records = [record(0, send=S, last=2 * S), record(1, send=2 * S, last=5 * S)]
    result = measured(records, tokens=counts(r0=(100, 10, None), r1=(100, 30, None)))
    assert result.phase == Window(start_ns=S, end_ns=5 * S)
    assert result.value("request_throughput") == 0.5
    assert result.value("output_token_throughput") == 10.0
    assert result.value("total_token_throughput") == 60.0


def test_a_failure_that_ends_last_still_took_its_time(record, measured):
    records = [record(0, send=0, last=S), record(1, send=0, outcome="failed", error="timeout", end=10 * S)]
    assert measured(records).value("request_throughput") == 0.1


def test_steady_state_of_a_closed_loop_is_full_load_to_last_issue(record, measured, counts):
    records = [
        record(0, send=0, first=S // 2, gaps=(S,)),
        record(1, send=S, first=2 * S, gaps=(S,)),
        record(2, send=3 * S, first=4 * S, gaps=(S,)),
    ]
    tokens = counts(r0=(1, 10, 5), r1=(1, 10, 5), r2=(1, 10, 5))
    result = measured(records, phase={"full_load_ns": S}, tokens=tokens)
    assert result.steady_state == Window(start_ns=S, end_ns=3 * S)
    # Within (1 s, 3 s]: the second event of r0 and both of r1; r0 and r1 end there.
    assert result.value("steady_output_token_throughput") == pytest.approx(15 / 2)
    assert result.value("steady_request_throughput") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("load", "phase", "reason"),
    [
        (BURST, {"full_load_ns": 0}, "a burst has no steady state"),
        (Load(pattern="stages", stages=(BURST,)), {"full_load_ns": 0}, "no single steady state"),
        (POISSON, {"full_load_ns": None}, "full load was never reached"),
        (POISSON, {"full_load_ns": 9 * S}, "issuing ended as soon as full load was reached"),
    ],
)
def test_metrics_of_the_steady_state_are_null_with_a_reason_if_there_is_none(
    record, measured, load, phase, reason
):
    result = measured([record(0, last=S)], load=load, phase=phase)
    assert result.value("steady_request_throughput") is None
    assert reason in result.reason("steady_request_throughput")


def test_the_server_scenario_counts_as_loadgen_does(record, measured):
    records = [
        record(0, scheduled_ns=S, send=S, last=9 * S),
        record(1, scheduled_ns=2 * S, send=2 * S, last=3 * S),
        record(2, scheduled_ns=3 * S, send=3 * S, last=5 * S),
    ]
    assert measured(records, load=POISSON).value("server_scenario_throughput") == 2 / 4


def test_the_server_scenario_is_open_loop_only(record, measured):
    assert "open loop" in measured([record(0, last=S)]).reason("server_scenario_throughput")


def test_without_a_count_token_metrics_are_null_with_the_reason(record, measured):
    records = [record(number, send=number * S, first=MS, gaps=(MS,)) for number in range(5)]
    phase = {"full_load_ns": S, "last_issue_ns": 3 * S}
    result = measured(records, phase=phase, tokens=None, asked_output_tokens=2)
    named = [f"{name}.p50" if one.kind == "distribution" else name for name, one in DEFINITIONS.items()]
    null = {name for name in named if result.reason(name) == NOBODY}
    assert all(result.value(name) is None for name in null)
    assert {name.partition(".")[0] for name in null} == COUNTS_TOKENS | {"inter_token_latency"}
    assert result.token_source is None


def test_why_tokens_were_not_counted_is_passed_on(record, measured):
    result = measured([record(0, last=MS)], tokens=None, unfinished="counting ended with 3 pending")
    assert result.reason("output_token_throughput") == "counting ended with 3 pending"


def test_a_success_without_a_count_makes_token_metrics_null(record, measured, counts):
    result = measured([record(0, last=MS), record(1, last=MS)], tokens=counts(r0=(1, 1, None)))
    assert result.reason("output_token_throughput") == "1 of 2 succeeded requests have no token count"


def test_the_usage_of_the_server_is_recorded_beside_the_count_of_the_client(record, measured, counts):
    records = [
        record(0, last=MS, usage=Usage(input_tokens=9, output_tokens=10, cached_tokens=8)),
        record(1, last=MS, usage=Usage(input_tokens=9, output_tokens=14, cached_tokens=0)),
    ]
    result = measured(records, tokens=counts(r0=(9, 10, None), r1=(9, 11, None)))
    assert result.value("server_output_tokens.mean") == 12
    assert result.value("server_cached_tokens.max") == 8
    assert result.value("token_count_difference.max") == 3
    assert result.value("token_count_mean_difference") == 0.125


def test_the_share_of_input_tokens_that_the_server_took_from_its_cache(record, measured):
    records = [
        record(0, last=MS, usage=Usage(input_tokens=10, cached_tokens=9)),
        record(1, last=MS, usage=Usage(input_tokens=30, cached_tokens=0)),
        record(2, last=MS, usage=Usage(input_tokens=70)),
        record(3, outcome="failed", usage=Usage(input_tokens=10, cached_tokens=10)),
    ]
    assert measured(records).value("server_cached_token_share") == pytest.approx(9 / 40)
    assert measured(records[2:]).reason("server_cached_token_share") == "the server reports no cached tokens"


def test_latencies_of_several_endpoints_are_given_for_each(record, measured):
    records = [
        record(0, endpoint=0, last=2 * MS),
        record(1, endpoint=1, last=5 * MS),
        record(2, endpoint=0, last=4 * MS),
        record(3, endpoint=1, outcome="failed"),
        record(4, endpoint=2, outcome="failed"),
    ]
    first, second, third = measured(records).endpoints
    assert [(part.endpoint, part.issued, part.succeeded, part.failed) for part in (first, second, third)] == [
        (0, 2, 2, 0),
        (1, 2, 1, 1),
        (2, 1, 0, 1),
    ]
    assert first.metrics["request_latency"].statistics["mean"] == 3 * MS
    assert second.metrics["request_latency"].statistics["p99"] == 5 * MS
    assert third.metrics["request_latency"].reason == "no request succeeded"
    assert measured(records[:1]).endpoints == ()


def test_the_share_of_tokens_asked_for(record, measured, counts):
    records = [record(0, sample_index=4, last=MS), record(1, sample_index=9, last=MS)]
    tokens = counts(r0=(1, 64, None), r1=(1, 32, None))
    assert measured(records, tokens=tokens, asked_output_tokens=64).value(
        "output_tokens_requested_share"
    ) == pytest.approx(0.75)
    assert (
        measured(records, tokens=tokens, asked_output_tokens={4: 64, 9: 32}).value(
            "output_tokens_requested_share"
        )
        == 1.0
    )


def test_goodput_counts_requests_that_meet_every_limit(record, measured, counts):
    records = [
        record(0, send=0, first=10 * MS, gaps=(90 * MS,)),
        record(1, send=0, first=60 * MS, gaps=(40 * MS,)),
        record(2, send=0, first=10 * MS, gaps=(990 * MS,)),
        record(3, send=0, outcome="failed"),
        record(4, send=0, outcome="interrupted"),
    ]
    limits = slo(time_to_first_token="<= 50ms", request_latency="<= 100ms")
    result = measured(records, slo=limits)
    assert result.value("good_request_fraction") == 1 / 5
    assert result.value("goodput") == 1.0


def test_a_missing_metric_does_not_meet_a_limit(record, measured):
    records = [record(0, send=0, first=MS), record(1, send=0, end=MS, output_empty=True)]
    result = measured(records, slo=slo(time_to_first_token="<= 1s"))
    assert result.value("good_request_fraction") == 0.5
    assert result.value("empty_outputs") == 1


def test_where_every_request_failed_goodput_is_zero_and_latencies_are_null(record, measured):
    result = measured([record(0, outcome="failed", end=S)], slo=slo(time_to_first_token="<= 1s"))
    assert result.value("goodput") == 0.0
    assert result.value("request_throughput") == 0.0
    assert result.reason("request_latency.p99") == "no request succeeded"


def test_without_an_slo_there_is_no_goodput(record, measured):
    assert "declares no slo" in measured([record(0, last=MS)]).reason("goodput")


def test_inter_token_latency_names_the_rule_it_used(record, measured, counts):
    told = record(0, first=1, gaps=(10, 20), content_event_tokens=(1, 2, 1))
    result = measured([told])
    assert result.value("inter_token_latency.max") == 20
    assert (
        "in 1 of 1 streams the server reports the tokens of every event"
        in result.metrics["inter_token_latency"].note
    )

    plain = record(0, first=1, gaps=(10, 20))
    result = measured([plain], tokens=counts(r0=(1, 3, 1)))
    assert result.value("inter_token_latency.mean") == 15
    assert "in 1 of 1 streams one token per event is proven" in result.metrics["inter_token_latency"].note


def test_inter_token_latency_is_null_if_chunks_hold_several_tokens(record, measured, counts):
    result = measured([record(0, first=1, gaps=(10, 20))], tokens=counts(r0=(1, 6, 2)))
    assert "are known for 0 of 1 streams" in result.reason("inter_token_latency.p50")
    assert result.value("inter_chunk_latency.p50") == 10


def test_streams_with_reported_tokens_and_streams_with_one_token_an_event_are_pooled(record, measured):
    told = [
        record(i, first=1, gaps=(10, 20), content_event_tokens=(1, 2, 1), usage=Usage(output_tokens=4))
        for i in range(2)
    ]
    single = record(2, first=1, gaps=(7, 7), usage=Usage(output_tokens=3))
    metric = measured([*told, single]).metrics["inter_token_latency"]
    assert metric.count == 2 * 3 + 2
    assert metric.statistics["mean"] == pytest.approx((2 * (5 + 5 + 20) + 7 + 7) / 8)
    assert metric.note == (
        "in 2 of 3 streams the server reports the tokens of every event; "
        "in 1 of 3 streams one token per event is proven"
    )


def test_one_request_that_proves_nothing_does_not_make_inter_token_latency_null(record, measured):
    def stream(number, tokens, **fields):
        return record(number, first=1, gaps=(10, 20), usage=Usage(output_tokens=tokens), **fields)

    records = [stream(number, 3) for number in range(18)]
    result = measured([*records, stream(18, 4, finish_reason="stop"), stream(19, 6)])
    assert result.metrics["inter_token_latency"].count == 2 * 19
    assert "in 19 of 20 streams one token per event is proven" in result.metrics["inter_token_latency"].note
    few = measured([*records[:8], stream(8, 6), stream(9, 4, finish_reason="length")])
    assert "known for 8 of 10 streams, 90% are needed" in few.reason("inter_token_latency.p50")


def test_usage_counts_where_there_is_no_tokenizer_and_the_measurement_says_so(record, measured):
    records = [
        record(0, send=0, first=MS, gaps=(MS, MS), usage=Usage(input_tokens=5, output_tokens=3)),
        record(1, send=0, first=MS, gaps=(3 * MS,), usage=Usage(input_tokens=7, output_tokens=8), end=S),
    ]
    result = measured(records)
    assert (result.token_source.output, result.token_source.input) == ("usage", "usage")
    assert result.token_source.shown == "usage"
    assert result.value("output_token_throughput") == 11
    assert result.value("input_tokens.max") == 7
    # Three tokens in three events; eight in two, so that the first event holds four of them.
    assert result.metrics["time_per_output_token"].statistics["min"] == 0.75 * MS
    assert result.metrics["time_per_output_token"].statistics["max"] == MS


def test_usage_that_is_missing_in_some_requests_is_not_used(record, measured):
    records = [record(0, last=MS, usage=Usage(output_tokens=3)), record(1, last=MS)]
    for rule in ("auto", "usage"):
        result = measured(records, count=rule)
        assert "1 of 2 succeeded requests have no usage" in result.reason("output_token_throughput")


def eight_made_of_which_six_and_a_half_show(record, counts):
    """Answers of 8 tokens, of which 6.5 are in the text: special tokens are not shown."""
    records = [record(n, send=0, last=S, usage=Usage(input_tokens=4, output_tokens=8)) for n in range(2)]
    return records, counts(r0=(3, 7, 1), r1=(3, 6, 1))


def test_under_ignore_eos_usage_decides_and_both_counts_are_named(record, measured, counts):
    records, tokens = eight_made_of_which_six_and_a_half_show(record, counts)
    result = measured(records, tokens=tokens, ignore_eos=True)
    assert result.value("output_token_throughput") == 16
    assert result.value("input_tokens.max") == 3
    source = result.token_source
    assert (source.output, source.input, source.agree, source.mismatch) == (
        "usage",
        "tokenizer",
        False,
        False,
    )
    assert source.shown == "usage (tokenizer -19%)"
    assert "text does not show" in source.reason


def test_a_larger_difference_than_retokenisation_explains_is_a_mismatch(record, measured, counts):
    records, tokens = eight_made_of_which_six_and_a_half_show(record, counts)
    result = measured(records, tokens=tokens)
    assert result.value("output_token_throughput") == 13
    assert result.value("token_count_mean_difference") == pytest.approx(1.5 / 8)
    assert (result.token_source.agree, result.token_source.mismatch) == (False, True)
    assert result.token_source.shown == "tokenizer (usage +23%)"


def test_the_rule_of_the_suite_decides_which_count_is_used(record, measured, counts):
    records, tokens = eight_made_of_which_six_and_a_half_show(record, counts)
    by_usage = measured(records, tokens=tokens, count="usage")
    assert (by_usage.value("output_token_throughput"), by_usage.value("input_tokens.max")) == (16, 4)
    by_tokenizer = measured(records, tokens=tokens, count="tokenizer", ignore_eos=True)
    assert by_tokenizer.value("output_token_throughput") == 13
    assert "no tokenizer to count with" in measured(records, count="tokenizer").reason("output_tokens.p50")


@pytest.mark.parametrize(
    ("usage", "finish_reason", "agree"),
    [
        ((20, 20, 20, 21), "length", True),  # a quarter of the answers differ by one token
        ((21, 21, 21, 21), "stop", True),  # an end-of-sequence token each
        ((21, 21, 21, 21), "length", False),
        ((18, 18, 18, 18), "stop", False),  # the tokenizer of another model
    ],
)
def test_counts_agree_within_the_effects_of_retokenisation_and_end_tokens(
    record, measured, counts, usage, finish_reason, agree
):
    records = [
        record(number, last=MS, usage=Usage(output_tokens=tokens), finish_reason=finish_reason)
        for number, tokens in enumerate(usage)
    ]
    tokens = counts(**{f"r{number}": (1, 20, None) for number in range(4)})
    source = measured(records, tokens=tokens).token_source
    assert (source.agree, source.shown == "both") == (agree, agree)


def test_auto_has_no_counts_if_counting_did_not_finish_even_with_usage(record, measured):
    records = [record(0, send=0, last=S, usage=Usage(output_tokens=3))]
    result = measured(records, unfinished="counting did not finish")
    assert result.reason("output_token_throughput") == "counting did not finish"
    assert measured(records, unfinished="late", count="usage").value("output_token_throughput") == 3


def test_rows_may_ask_for_videos_of_their_own_length(record, measured):
    records = [record(0, send=0, last=10 * S), record(1, send=0, last=20 * S)]
    result = measured(records, load=BURST, video_seconds={record.sample_index: 3.0 for record in records})
    assert result.value("video_seconds_throughput") == 0.3


def test_videos_are_counted_and_timed(record, measured):
    records = [
        record(0, send=0, last=10 * S, server_time_s=8.5),
        record(1, send=0, last=20 * S, server_time_s=9.5),
    ]
    result = measured(records, load=BURST, video_seconds=5.0)
    assert result.value("video_throughput") == 0.1
    assert result.value("video_seconds_throughput") == 0.5
    assert result.value("server_inference_time.mean") == 9 * S


def test_an_api_without_videos_has_no_video_metrics(record, measured):
    assert "no videos" in measured([record(0, last=MS)]).reason("video_throughput")


def test_the_clients_own_times_count_every_issued_request(record, measured):
    records = [
        record(0, connect_ns=3 * MS, scheduled_ns=0, send=MS, last=S),
        record(1, connect_ns=5 * MS, scheduled_ns=0, send=7 * MS, outcome="failed"),
        record(2, scheduled_ns=0, send=2 * MS, last=S),
    ]
    result = measured(records, load=POISSON)
    assert result.value("connect_time.max") == 5 * MS
    assert result.metrics["connect_time"].count == 2
    assert result.value("schedule_lateness.max") == 7 * MS


def test_resent_requests_are_counted(record, measured):
    assert measured([record(0, last=MS, resent=True)]).value("resent_requests") == 1


def test_early_stopping_estimates_are_given_with_percentiles_and_are_null_below_their_minimum(
    record, measured
):
    result = measured([record(i, send=0, last=(i + 1) * MS) for i in range(64)])
    assert result.value("request_latency.early_stopping_p90") == 64 * MS
    assert result.value("request_latency.early_stopping_p99") is None
    assert result.reason("request_latency.early_stopping_p99") == (
        "64 succeeded requests have a value: the estimate needs 662"
    )


def test_a_log_that_lost_records_is_not_measured(record, phase_of):
    records = [record(i, last=MS) for i in range(3)]
    with pytest.raises(EvidenceError, match=r"holds 2 records .* counted 3"):
        measure(read_columns(records[:2]), phase_of(records), BURST, tokens=None)


def test_a_phase_without_requests_has_reasons_for_everything_but_counts(measured):
    result = measured([])
    numbers = {name for name in all_names() if result.value(name) is not None}
    assert numbers == {"failed_requests", "resent_requests", "empty_outputs"}
    assert all(result.reason(name) for name in set(all_names()) - numbers)


def test_intervals_are_made_for_the_bounds_that_ask(record, measured):
    def bound(name, text):
        return parse_bound(name, text, unit_of(name), confidence=0.95)

    records = [record(i, send=i * MS, last=i * MS + (i % 10 + 1) * MS) for i in range(200)]
    result = measured(
        records,
        slo=slo(request_latency="<= 5ms"),
        bounds=(
            bound("request_latency.p50", "<= 5ms"),
            bound("request_latency.mean", "<= 5ms"),
            bound("good_request_fraction", ">= 40%"),
            bound("request_throughput", ">= 1"),
            bound("failed_requests", "== 0"),
            parse_bound("request_latency.p90", "<= 1s", "ns"),
        ),
    )
    for name in (
        "request_latency.p50",
        "request_latency.mean",
        "good_request_fraction",
        "request_throughput",
    ):
        low, high = result.interval(name, 0.95)
        assert low <= result.value(name) <= high
    assert result.interval("failed_requests", 0.95) is None
    assert result.interval("request_latency.p90", 0.95) is None
    assert result.interval("request_latency.p50", 0.99) is None


def test_a_measurement_survives_its_own_wire_format(record, measured, counts):
    result = measured([record(0, send=0, first=MS, gaps=(MS,))], tokens=counts(r0=(1, 2, 1)))
    assert msgspec.json.decode(msgspec.json.encode(result), type=Measurement) == result
    assert msgspec.json.decode(canonical_json(result))["version"] == 2


def test_a_measurement_refuses_a_name_that_it_does_not_have(record, measured):
    result = measured([record(0, last=MS)])
    with pytest.raises(UsageError, match="did you mean 'request_latency'"):
        result.value("request_latencies.p99")
    with pytest.raises(UsageError, match="a distribution"):
        result.value("request_latency")
    with pytest.raises(UsageError, match="a distribution"):
        result.value("request_latency.p98")
    with pytest.raises(UsageError, match="single number"):
        result.value("request_throughput.p99")


def test_a_measurement_of_an_eval_may_have_metrics_with_names_of_their_own():
    result = Measurement(
        metrics={"exact_match,strict-match": {"unit": "fraction", "kind": "scalar", "value": 0.9}}
    )
    result = msgspec.convert(msgspec.to_builtins(result), Measurement)
    assert result.value("exact_match,strict-match") == 0.9
    assert result.unit("exact_match,strict-match") == "fraction"


@st.composite
def streams(draw):
    send = draw(st.integers(0, 10 * S))
    gaps = tuple(draw(st.lists(st.integers(0, S), max_size=5)))
    return {
        "send": send,
        "first": send + draw(st.integers(1, S)),
        "gaps": gaps,
        "outcome": draw(st.sampled_from(["succeeded", "succeeded", "failed", "interrupted"])),
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])  # they hold no state
@given(
    drawn=st.lists(streams(), max_size=12), full_load=st.integers(0, 5 * S), tokens_each=st.integers(1, 50)
)
def test_whatever_was_recorded_a_measurement_is_finite_json_and_agrees_with_numpy(
    record, counts, measured, drawn, full_load, tokens_each
):
    records = [record(i, **fields) for i, fields in enumerate(drawn)]
    tokens = counts(**{f"r{i}": (3, tokens_each, 1) for i in range(len(records))})
    result = measured(
        records, phase={"full_load_ns": full_load}, tokens=tokens, slo=slo(time_to_first_token="<= 500ms")
    )
    assert msgspec.json.decode(canonical_json(result), type=Measurement) == result
    assert set(result.metrics) == set(DEFINITIONS)
    for name in all_names():
        assert (result.value(name) is None) == (result.reason(name) is not None)
    good = [item for item in records if item.outcome == "succeeded"]
    if good:
        firsts = [item.first_content_ns - item.send_start_ns for item in good]
        assert result.value("time_to_first_token.p90") == np.quantile(firsts, 0.9, method="lower")
    steady = result.value("steady_output_token_throughput")
    if steady is not None:
        assert 0 <= steady * result.steady_state.seconds <= tokens_each * len(good) + 1e-6


def test_the_steady_state_window_comes_from_the_phase(phase_of, record):
    phase = phase_of([record(0, send=5 * S, last=6 * S)], full_load_ns=S)
    assert steady_state_of(phase, POISSON) == Window(start_ns=S, end_ns=5 * S)
