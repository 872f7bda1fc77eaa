"""Client stamps against the server's: one clock, so that every difference is somebody's delay."""

import os
import signal
import threading

import numpy as np
import pytest
from driving import truth_of

from pytest_bench.workload import Load

MS = 10**6


def compared(simulator, drive, load, *, workers=1, max_tokens=20, **knobs):
    """Pairs of request record and ground truth."""
    run = drive(simulator.url, load, workers=workers, max_tokens=max_tokens, knobs=knobs)
    seen = {record.request_id: record for record in truth_of(simulator, run).records}
    assert run.errors() == {None: run.result.issued}
    return [(record, seen[record.request_id]) for record in run.records()]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_token_is_stamped_just_after_the_server_wrote_it_and_never_before(
    simulator, drive, workers
):
    load = Load(pattern="concurrency", concurrency=16, requests=64)
    pairs = compared(simulator, drive, load, workers=workers, ttft_ms=20, itl_ms=4)
    late = np.array([record.first_content_ns - truth.first_content_ns for record, truth in pairs])
    assert late.min() >= 0
    assert np.median(late) < 3 * MS
    last = np.array([record.last_content_ns - truth.last_content_ns for record, truth in pairs])
    assert last.min() >= 0
    assert np.median(last) < 3 * MS


def test_a_request_leaves_before_the_server_reads_it(simulator, drive):
    pairs = compared(simulator, drive, Load(pattern="poisson", rate=300.0, requests=60), ttft_ms=5)
    away = np.array([truth.last_request_byte_ns - record.send_start_ns for record, truth in pairs])
    assert away.min() > 0
    assert np.median(away) < 3 * MS
    assert all(record.scheduled_ns <= record.send_start_ns <= record.request_sent_ns for record, _ in pairs)


def test_gaps_between_tokens_are_the_servers_gaps(simulator, drive):
    load = Load(pattern="concurrency", concurrency=8, requests=16)
    pairs = compared(simulator, drive, load, ttft_ms=10, itl_ms=5, max_tokens=30)
    for record, truth in pairs:
        client = (record.last_content_ns - record.first_content_ns) / (record.content_event_count - 1)
        server = (truth.last_content_ns - truth.first_content_ns) / (truth.tokens - 1)
        assert client == pytest.approx(server, rel=0.1)
        assert record.content_event_count == truth.tokens == 30
        assert len(record.content_gaps_ns) == 29
        assert sum(record.content_gaps_ns) == record.last_content_ns - record.first_content_ns
    gaps = np.concatenate([record.content_gaps_ns for record, _ in pairs])
    assert np.median(gaps) == pytest.approx(5 * MS, rel=0.1)


def test_events_that_share_a_packet_share_a_stamp(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    pairs = compared(simulator, drive, load, ttft_ms=5, itl_ms=10, max_tokens=13, coalesce=4)
    for record, _ in pairs:
        together = [gap == 0 for gap in record.content_gaps_ns]
        assert together == [True, True, True, False] * 3


def test_reasoning_is_a_first_token_but_no_first_output(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    pairs = compared(simulator, drive, load, ttft_ms=10, itl_ms=10, max_tokens=8, reasoning_tokens=3)
    for record, truth in pairs:
        assert record.first_content_ns - truth.first_content_ns < 5 * MS
        assert record.first_output_ns == record.first_content_ns + sum(record.content_gaps_ns[:3])


def test_a_role_without_text_is_no_first_token(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    for record, _ in compared(simulator, drive, load, ttft_ms=60):
        assert record.first_byte_ns - record.send_start_ns < 40 * MS
        assert record.first_content_ns - record.send_start_ns >= 60 * MS


def test_torn_packets_stamp_an_event_with_its_last_byte(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=6)
    pairs = compared(simulator, drive, load, ttft_ms=10, itl_ms=8, max_tokens=6, fault="split")
    late = [record.first_content_ns - truth.first_content_ns for record, truth in pairs]
    assert min(late) >= 0
    assert np.median(late) < 3 * MS


def test_a_server_that_stops_shows_in_times_counted_from_the_schedule(simulate, drive):
    """Coordinated omission: arrivals go on while the server does nothing, and their wait is counted."""
    server = simulate()
    stop = threading.Timer(0.6, os.kill, [server.pid, signal.SIGSTOP])
    go = threading.Timer(1.1, os.kill, [server.pid, signal.SIGCONT])
    for timer in (stop, go):
        timer.start()
    run = drive(server.url, Load(pattern="constant", rate=100.0, requests=120))
    for timer in (stop, go):
        timer.join()
    waits = sorted(record.first_content_ns - record.scheduled_ns for record in run.records())
    assert run.errors() == {None: 120}
    assert waits[-5] > 300 * MS
    assert waits[30] < 20 * MS
    lateness = sorted(record.send_start_ns - record.scheduled_ns for record in run.records())
    assert lateness[60] < 10 * MS
