"""Servers that answer with a job to ask for again: one request until the job is done."""

from pytest_bench.api.videos import Videos
from pytest_bench.workload import Load, Timeouts


def run(drive, simulate, *loads, **knobs):
    server = simulate(video_reply="job", **knobs)
    return drive(server.url, *loads, api=Videos, streaming=False, max_tokens=None, poll_interval_s=0.02)


def test_a_job_is_polled_until_it_is_done(drive, simulate):
    load = Load(pattern="concurrency", concurrency=2, requests=6)
    driven = run(drive, simulate, load, video_ms=100)
    records = driven.records()
    assert driven.result.succeeded == 6
    assert all(record.polls >= 2 for record in records)


def test_the_latency_of_a_job_counts_from_its_first_request(drive, simulate):
    load = Load(pattern="concurrency", concurrency=1, requests=3)
    driven = run(drive, simulate, load, video_ms=100)
    # The simulator's timers count whole milliseconds, and may be early by a part of one.
    assert all(record.last_content_ns - record.send_start_ns >= 99e6 for record in driven.records())


def test_a_job_may_have_been_finished_since_the_last_poll_that_found_it_running(drive, simulate):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    driven = run(drive, simulate, load, video_ms=100)
    for record in driven.records():
        before_ns = record.last_content_ns - record.uncertainty_ns.last_content
        # It was still running when that poll was sent, and every poll waits for the answer to the one before.
        assert record.send_start_ns + (record.polls - 1) * 20e6 <= before_ns < record.last_content_ns
        assert record.uncertainty_ns.end == 0


def test_a_job_that_is_done_at_once_has_an_exact_latency(drive, simulate):
    load = Load(pattern="concurrency", concurrency=1, requests=1)
    driven = run(drive, simulate, load, video_ms=0)
    assert all(record.polls or record.uncertainty_ns is None for record in driven.records())


def test_a_job_that_runs_counts_as_in_flight(drive, simulate):
    load = Load(pattern="concurrency", concurrency=3, requests=9)
    driven = run(drive, simulate, load, video_ms=60)
    assert driven.result.peak_in_flight == 3


def test_a_job_that_is_never_done_times_out(drive, simulate):
    server = simulate(video_reply="job", video_ms=60_000)
    driven = drive(
        server.url,
        Load(pattern="concurrency", concurrency=1, requests=1),
        api=Videos,
        streaming=False,
        max_tokens=None,
        poll_interval_s=0.02,
        timeouts=Timeouts(request_s=0.3),
    )
    assert driven.errors() == {"timeout": 1}


def test_a_video_that_is_delivered_as_bytes_is_stored_under_its_index(drive, simulate):
    server = simulate(video_reply="raw", video_ms=1)
    load = Load(pattern="concurrency", concurrency=2, requests=3)
    driven = drive(server.url, load, api=Videos, streaming=False, max_tokens=None)
    videos = sorted((driven.folder / "main" / "attachments").iterdir())
    assert [video.name for video in videos] == ["0.mp4", "1.mp4", "2.mp4"]
    assert all(video.read_bytes()[4:8] == b"ftyp" for video in videos)


def test_a_video_is_not_stored_where_outputs_are_dropped(drive, simulate):
    server = simulate(video_reply="raw", video_ms=1)
    load = Load(pattern="concurrency", concurrency=1, requests=1)
    driven = drive(server.url, load, api=Videos, streaming=False, max_tokens=None, texts="drop")
    assert driven.result.succeeded == 1
    assert not (driven.folder / "main" / "attachments").exists()
