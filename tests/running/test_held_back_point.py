"""An open loop with a cap whose server is too slow: a result with its label, not an error of the client."""

import json

import pytest
from points_in_process import plan_of, session_of

from pytest_bench.perf.remeasure import remeasure

# The limits that a cap could exceed are below what the server of the test allows: 40 of 400 requests a second.
SUITE = """
suite: s
deployment:
  api: openai-chat
  model: m
  endpoint: simulator
  simulator: {ttft_ms: 200, itl_ms: 1}
  generation: {max_tokens: 4}
datasets: {prompts: {path: prompts.jsonl}}
perf:
  arrivals:
    dataset: prompts
    load: {pattern: poisson, rate: 400, requests: 60, max_concurrency: 8}
    budget: {vacancy: 1, schedule_lateness_ms: 500, cpu_share: 1, achieved_share: 0.5}
    bounds: {failed_requests: "== 0"}
"""


@pytest.fixture(scope="module")
def held_back(tmp_path_factory):
    folder = tmp_path_factory.mktemp("held-back")
    (folder / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": f"{n}"}) for n in range(60)))
    plan = plan_of(folder, SUITE)
    with session_of(plan, folder) as session:
        return plan, session.perf("arrivals")


def test_a_cap_never_makes_a_point_client_bound(held_back):
    _, measured = held_back
    judgement = measured.summary.judgement
    assert judgement.outcome == "pass", measured.report()
    assert "held-back" in judgement.labels
    [phase] = measured.summary.phases
    assert phase.peak_in_flight == 8
    assert phase.health.achieved < 0.3 * phase.health.asked


def test_the_achieved_and_the_scheduled_rate_are_shown(held_back):
    _, measured = held_back
    note = measured.summary.detail.note
    health = measured.summary.phases[0].health
    assert note == (
        f"{health.achieved:.3g} of the {health.asked:.3g} requests/s that were scheduled could be sent: {health.held} "
        "of 60 requests waited while 8 were in flight (`max_concurrency`)"
    )


def test_latencies_count_from_the_schedule_and_from_the_send(held_back):
    """And how late the client was is not what requests waited."""
    _, measured = held_back
    value = measured.summary.measurement.value
    sent, scheduled = value("request_latency.p99"), value("scheduled_request_latency.p99")
    assert scheduled > 3 * sent
    assert value("schedule_lateness.p50") < scheduled - sent
    uncertainty = measured.summary.measurement.uncertainty("scheduled_request_latency.p50")
    assert uncertainty < value("scheduled_request_latency.p50") - value("request_latency.p50")


def test_verify_gives_the_point_the_same_label(held_back, tmp_path):
    plan, measured = held_back
    _, again = remeasure(plan, measured.point, measured.folder, measured.summary, tmp_path)
    assert again.labels == measured.summary.judgement.labels
