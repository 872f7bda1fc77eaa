"""The harness measures itself: a client that is the bottleneck says so, and what to change."""

import os
import time
from pathlib import Path

import pytest
from driving import phase, workers_of

from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.load import supervisor
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
    load = Load(pattern="concurrency", concurrency=8, requests=40)
    run = drive(simulator.url, load, api=Slow, budget=BUDGET, knobs={"ttft_ms": 5})
    health = run.result.health
    assert health.loop_lag_ms.p99 > 20
    assert health.callback_share > 0.5
    [sentence] = [text for text in health.violations if "event-loop lag" in text]
    assert "set `workers:` above 1, for fewer requests per load worker, or lower the concurrency" in sentence


def test_what_the_client_was_worth_is_told_for_each_phase_apart(simulator, drive):
    idle = phase(Load(pattern="constant", rate=4.0, requests=2, duration_s=0.4, stop="and"), "idle")
    busy = phase(Load(pattern="concurrency", concurrency=32, requests=1500), "busy")
    run = drive(simulator.url, idle, busy, workers=1)
    calm, strained = (result.health for result in run.results)
    assert calm.cpu_share < strained.cpu_share
    assert calm.callback_share < strained.callback_share
    assert calm.loop_lag_ms is not None
    assert strained.loop_lag_ms is not None


def test_a_closed_loop_tells_its_mean_concurrency_and_an_open_one_its_rate(simulator, drive):
    run = drive(simulator.url, Load(pattern="concurrency", concurrency=5, requests=50), knobs={"ttft_ms": 20})
    assert (run.result.health.asked, run.result.health.achieved) == (5, pytest.approx(5, rel=0.3))
    run = drive(simulator.url, Load(pattern="constant", rate=100.0, requests=41))
    assert run.result.health.asked == pytest.approx(102.5)
    assert run.result.health.achieved == pytest.approx(102.5, rel=0.3)


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
    assert last - first > 1000, "seen at two times that lie apart"
    assert late - early < 2_000_000
