"""Every fault of the simulator: the right typed failure, no hang, no lost request."""

from collections import Counter

import pytest
from driving import truth_of

from pytest_bench.simulator.behaviour import FAULTS, FRAMINGS
from pytest_bench.workload import Load, Timeouts

STREAMED = {
    "refuse": "reset",
    "reset": "reset",
    "stall": "no_progress",
    "truncated": "truncated_stream",
    "malformed": "malformed",
    "stream_error": "stream_error",
    "error_event": "stream_error",
    "error_field": "stream_error",
    "unseparated": "malformed",
    "http_429": "rate_limited",
    "http_500": "server_error",
    "http_503": "server_error",
    "redirect": "redirect",
    "content_length": "short_body",
    "empty": None,
}
"""Type of failure of a streamed request under each fault; None: it succeeds."""

WHOLE = STREAMED | {"stall": "timeout", "truncated": "malformed"}
"""The same without streaming: only the request timeout detects a stall."""

QUICK = Timeouts(request_s=4.0, no_progress_s=1.5)
CLOSED = Load(pattern="concurrency", concurrency=4, requests=12)


def test_every_fault_is_in_the_table():
    assert set(STREAMED) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_counted_under_its_type(simulator, drive, fault):
    run = drive(simulator.url, CLOSED, knobs={"fault": fault, "ttft_ms": 2}, timeouts=QUICK, max_tokens=8)
    expected = STREAMED[fault]
    assert run.result.failures == ({} if expected is None else {expected: 12})
    assert (run.result.issued, run.result.interrupted, run.result.complete) == (12, 0, True)
    assert sorted(record.index for record in run.records()) == list(range(12))
    assert {record.output_empty for record in run.records()} == {fault == "empty"}
    assert all(record.error_detail for record in run.records() if record.error)


@pytest.mark.parametrize("fault", sorted(WHOLE))
def test_a_fault_of_an_answer_that_is_not_streamed_is_counted_under_its_type(simulator, drive, fault):
    run = drive(
        simulator.url,
        Load(pattern="concurrency", concurrency=6, requests=6),
        streaming=False,
        knobs={"fault": fault},
        timeouts=Timeouts(request_s=0.3, no_progress_s=0.1),
    )
    assert run.result.failures == ({} if WHOLE[fault] is None else {WHOLE[fault]: 6})


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_odd_framing_is_not_a_failure(simulator, drive, framing):
    knobs = {"fault": framing, "drip_ms": 0.02}
    run = drive(simulator.url, CLOSED, knobs=knobs, max_tokens=3)
    plain = drive(simulator.url, CLOSED, max_tokens=3)
    assert run.errors() == {None: 12}
    assert {record.content_event_count for record in run.records()} == {3}
    assert {len(text.content.split()) for text in run.texts().values()} == {
        len(text.content.split()) for text in plain.texts().values()
    }


@pytest.mark.parametrize(
    ("load", "workers"),
    [
        (Load(pattern="concurrency", concurrency=9, requests=240), 1),
        (Load(pattern="concurrency", concurrency=9, requests=240), 3),
        (Load(pattern="poisson", rate=400.0, requests=240), 2),
        (Load(pattern="burst", concurrency=32, requests=240), 2),
    ],
    ids=["closed", "closed with 3 workers", "open", "burst"],
)
def test_a_tenth_of_faults_of_all_kinds_and_framings_loses_no_request(simulator, drive, load, workers):
    share = 0.1 / len(FAULTS)
    fault = ",".join([*(f"{name}={share}" for name in FAULTS), *(f"{name}=0.1" for name in FRAMINGS)])
    knobs = {"fault": fault, "drip_ms": 0.01, "ttft_ms": 1}
    run = drive(simulator.url, load, workers=workers, knobs=knobs, timeouts=QUICK)
    result, records, truth = run.result, run.records(), truth_of(simulator, run)
    assert result.issued == 240 == result.succeeded + result.failed
    assert (result.interrupted, result.complete) == (0, True)
    assert sorted(record.index for record in records) == list(range(240))
    # The server knows which request had which fault; one that was sent again may have had two.
    struck = {}
    for seen in truth.records:
        struck.setdefault(seen.request_id, []).append(seen.fault)
    assert sum(len(faults) - 1 for faults in struck.values()) == result.resent
    for record in records:
        fault = struck[record.request_id][-1]
        assert record.error == (None if fault is None else STREAMED[fault]), fault
    assert Counter(record.error for record in records if record.error) == result.failures
    assert 8 <= result.failed <= 45


def test_a_failed_request_has_no_first_token_to_count(simulator, drive):
    """Latencies of a request that failed in the middle of its stream are in no metric."""
    knobs = {"fault": "reset=0.2,stall=0.2,content_length=0.2,truncated=0.2", "fault_after": 2}
    run = drive(simulator.url, CLOSED, knobs=knobs, timeouts=QUICK, max_tokens=8)
    failed = [record for record in run.records() if record.outcome == "failed"]
    assert failed
    for record in failed:
        assert record.first_content_ns is record.last_content_ns is record.first_output_ns is None
        assert record.first_byte_ns is not None
        assert record.request_id not in run.texts()


def test_never_more_than_n_in_flight_though_requests_time_out(simulator, drive):
    """The connection of a request that timed out is closed before another request takes its place."""
    knobs = {"fault": "stall=0.5", "ttft_ms": 3}
    for workers in (1, 2):
        run = drive(
            simulator.url,
            Load(pattern="concurrency", concurrency=6, requests=60),
            workers=workers,
            knobs=knobs,
            timeouts=Timeouts(request_s=0.08),
        )
        truth = truth_of(simulator, run)
        assert set(run.result.failures) == {"timeout"}
        assert max(record.in_flight for record in truth.records) == 6
        assert all(record.aborted for record in truth.records if record.fault == "stall")


def test_the_request_timeout_holds_from_the_issue_to_the_last_byte(simulator, drive):
    run = drive(
        simulator.url,
        Load(pattern="concurrency", concurrency=4, requests=4),
        knobs={"itl_ms": 20},
        max_tokens=200,
        timeouts=Timeouts(request_s=0.4, no_progress_s=5.0),
    )
    assert run.result.failures == {"timeout": 4}
    for record in run.records():
        assert record.end_ns - record.send_start_ns > 0.39e9
        assert record.error_detail == "not complete after 0.4 s"


def test_a_slow_stream_that_makes_progress_is_not_ended(simulator, drive):
    run = drive(
        simulator.url,
        Load(pattern="concurrency", concurrency=2, requests=2),
        knobs={"ttft_ms": 50, "itl_ms": 60},
        max_tokens=10,
        timeouts=Timeouts(no_progress_s=0.4),
    )
    assert run.errors() == {None: 2}


def test_silence_before_the_first_byte_is_not_progress_either(simulator, drive):
    run = drive(
        simulator.url,
        Load(pattern="concurrency", concurrency=2, requests=2),
        knobs={"ttft_ms": 5000, "role_first": "false"},
        timeouts=Timeouts(no_progress_s=0.2),
    )
    assert run.result.failures == {"no_progress": 2}
    assert run.records()[0].error_detail == "silent for 0.2 s after 0 bytes"


def test_keep_alive_comments_are_progress_but_no_tokens(simulator, drive):
    run = drive(
        simulator.url,
        Load(pattern="concurrency", concurrency=2, requests=2),
        knobs={"ttft_ms": 1500, "keepalive_ms": 50},
        timeouts=Timeouts(no_progress_s=1.0),
    )
    assert run.errors() == {None: 2}
    assert all(record.first_content_ns - record.send_start_ns > 1.49e9 for record in run.records())
    assert all(record.first_byte_ns < record.first_content_ns for record in run.records())


def test_latencies_of_successes_are_the_servers_own_though_a_tenth_fails(simulator, drive):
    knobs = {"fault": "stall=0.05,http_500=0.05", "ttft_ms": 30}
    run = drive(
        simulator.url, Load(pattern="concurrency", concurrency=10, requests=100), knobs=knobs, timeouts=QUICK
    )
    waits = [
        record.first_content_ns - record.send_start_ns
        for record in run.records()
        if record.outcome == "succeeded"
    ]
    assert len(waits) == run.result.succeeded < 100
    # The waits of the requests that stall, until they time out, are not among them.
    assert min(waits) > 29e6
    assert max(waits) < QUICK.request_s * 1e9
