"""The harness measures itself: a client that is the bottleneck says so, and what to change."""

import os
import time
from pathlib import Path

import pytest
from driving import phase, workers_of
from wire_server import STREAM

from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.load import supervisor
from pytest_bench.load.log import read_records
from pytest_bench.running.measuring import untrustworthy
from pytest_bench.workload import HealthBudget, Load

BUDGET = HealthBudget()


class Slow(OpenAIChat):
    """An API whose decoding holds the load worker up."""

    @staticmethod
    def decode_stream(events):
        time.sleep(0.03)
        return OpenAIChat.decode_stream(events)


def test_a_rate_that_no_load_worker_can_issue_is_client_bound_with_its_remedy(simulator, drive, monkeypatch):
    monkeypatch.setattr(supervisor, "_HUNG_AFTER_S", 0.6)  # it is overloaded, not dead
    run = drive(
        simulator.url, Load(pattern="constant", rate=50_000.0, requests=6_000), budget=BUDGET, workers=1
    )
    health = run.result.health
    assert health.schedule_lateness_ms.p99 > 20
    assert health.achieved < 0.95 * health.asked
    assert any("late at p99, over the budget of 20 ms" in sentence for sentence in health.violations)
    assert all("set `workers:` above 1" in sentence for sentence in health.violations)
    [reason, *_] = untrustworthy(run.results)
    assert reason.code == "client-bound"
    # Every request was issued and answered nevertheless: the point is an error for its figures alone.
    assert (run.result.issued, run.result.complete) == (6_000, True)


def test_a_load_worker_that_cannot_keep_up_with_its_streams_is_client_bound(simulator, drive):
    load = Load(pattern="concurrency", concurrency=8, requests=80)
    run = drive(simulator.url, load, api=Slow, budget=BUDGET, workers=1, knobs={"ttft_ms": 5})
    health = run.result.health
    assert health.vacancy > 0.5
    assert health.achieved < 0.98 * health.asked
    assert health.turnaround_ms.p50 > 5
    [sentence] = [text for text in health.violations if "of the concurrency was missing" in text]
    assert "set `workers:` above 1, for fewer requests per load worker, or lower the concurrency" in sentence


def test_a_server_that_answers_at_once_makes_the_client_the_bottleneck(wire, drive):
    """The time to first token is the server's all the same: the kernel stamps it."""
    run = drive(
        wire().url, Load(pattern="concurrency", concurrency=16, requests=400), workers=1, budget=BUDGET
    )
    assert run.errors() == {None: 400}
    assert any("of the concurrency was missing" in sentence for sentence in run.result.health.violations)
    [reason, *_] = untrustworthy(run.results)
    assert reason.code == "client-bound"


def test_a_phase_within_its_vacancy_has_98_percent_of_its_concurrency_in_flight(simulator, drive):
    load = Load(pattern="concurrency", concurrency=4, requests=24)
    run = drive(simulator.url, load, workers=1, knobs={"ttft_ms": 400})
    health, records = run.result.health, run.records()
    # By the records alone, without the engine's own account.
    first_ns, last_ns = records[3].send_start_ns, records[-1].send_start_ns
    held_ns = sum(
        max(0, min(record.end_ns, last_ns) - max(record.send_start_ns, first_ns)) for record in records
    )
    in_flight = held_ns / (last_ns - first_ns)
    assert health.achieved == pytest.approx(in_flight, rel=0.001)
    assert in_flight / 4 == pytest.approx(1 - health.vacancy, abs=0.005)


@pytest.mark.parametrize("handover", ["drain", "overlap"])
def test_places_that_are_empty_at_the_end_of_a_phase_are_not_turnaround_of_the_next(
    simulator, drive, handover
):
    first = phase(Load(pattern="concurrency", concurrency=8, requests=8), "first", handover=handover)
    second = Load(pattern="concurrency", concurrency=8, requests=8)
    run = drive(simulator.url, first, second, workers=1, knobs={"ttft_ms": 100})
    assert run.errors() == {None: 8}
    before, after = (result.health for result in run.results)
    assert before.vacancy is None
    # Only where phases overlap is a place handed from one to the next.
    assert (after.vacancy is None) == (handover == "drain")


@pytest.mark.parametrize("count", [8, 200])
def test_fast_failures_alone_give_no_advice_about_the_client(wire, drive, count):
    def refuse(turn):
        turn.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nbusy")

    run = drive(wire(refuse).url, Load(pattern="concurrency", concurrency=8, requests=count), budget=BUDGET)
    assert run.result.failures == {"server_error": count}
    assert run.result.health.violations == ()


def test_the_time_after_a_failure_is_not_turnaround(wire, drive):
    def refuse_most(turn):
        if turn.number % 10:
            turn.write(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\nbusy")
        else:
            time.sleep(0.05)
            turn.write(STREAM)

    run = drive(wire(refuse_most).url, Load(pattern="concurrency", concurrency=1, requests=30))
    [folder] = [Path(result.folder) for result in run.results]
    answered = [record for record in read_records(folder) if record.outcome == "succeeded"]
    assert len(answered) == 3
    # 27 of 30 places were left by a failure.
    assert run.result.health.vacancy < 0.2


def test_the_clients_health_is_reported_for_each_phase_separately(simulator, drive):
    idle = phase(Load(pattern="constant", rate=4.0, requests=2, duration_s=0.4, stop="and"), "idle")
    busy = phase(Load(pattern="concurrency", concurrency=32, requests=1500), "busy")
    run = drive(simulator.url, idle, busy, workers=1)
    calm, strained = (result.health for result in run.results)
    assert calm.cpu_share < strained.cpu_share
    assert (calm.vacancy, calm.turnaround_ms) == (None, None)
    assert strained.turnaround_ms is not None
    assert strained.reads > calm.reads > 0


def test_a_closed_loop_reports_its_mean_concurrency_and_an_open_loop_its_rate(simulator, drive):
    run = drive(simulator.url, Load(pattern="concurrency", concurrency=5, requests=50), knobs={"ttft_ms": 20})
    assert run.result.health.asked == 5
    assert 0 < run.result.health.achieved <= 5
    run = drive(simulator.url, Load(pattern="constant", rate=100.0, requests=41))
    assert run.result.health.asked == pytest.approx(100.0)
    assert 0 < run.result.health.achieved <= 100.0


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("headers", "knobs"),
    [((), {}), ((("Connection", "close"),), {}), ((), {"fault": "reset"})],
    ids=["kept connections", "a connection each", "resets"],
)
def test_a_load_worker_keeps_nothing_of_requests_that_are_over(simulator, drive, monkeypatch, headers, knobs):
    monkeypatch.setattr(supervisor, "_PROGRESS_EVERY_S", 0.02)
    sizes = {}

    def weigh(progress):
        for pid in workers_of(os.getpid()):
            sizes[progress.issued] = resident_bytes(pid)

    load = Load(pattern="concurrency", concurrency=16, requests=6000)
    drive(simulator.url, load, workers=1, headers=headers, knobs=knobs, on_progress=weigh)
    seen = [(issued, sizes[issued]) for issued in sorted(sizes) if issued > 1000]
    (first, early), (last, late) = seen[0], seen[-1]
    assert last - first > 1000, "the two sizes were read at different times"
    assert late - early < 2_000_000
