"""A point that was measured against a simulator at its own limit says so; its outcome stays."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import msgspec
import pytest
from points_in_process import plan_of, session_of

from pytest_bench import simulator
from pytest_bench.endpoints.scrape import METRICS_LOG, METRICS_VERSION, Reading
from pytest_bench.errors import EvidenceError
from pytest_bench.lines import encode_line, end_line, header_line
from pytest_bench.perf.remeasure import remeasure
from pytest_bench.running import simulator_bound as rule
from pytest_bench.running.simulator_bound import simulator_bound
from pytest_bench.simulator.lag import SERIES, bucket

SUITE = """
suite: s
deployment:
  api: openai-chat
  model: m
  endpoint: {endpoint}
  generation: {{max_tokens: 512}}
datasets: {{prompts: {{path: prompts.jsonl}}}}
perf:
  flood:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 128, requests: 256}}
    workers: 1
    budget: &patient
      {{vacancy: 1, schedule_lateness_ms: 60000, cpu_share: 1, achieved_share: 0.01}}
    bounds: {{failed_requests: "== 0"}}
  trickle:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 1, requests: 2}}
    budget: *patient
    bounds: {{failed_requests: "== 0"}}
"""
KNOBS = {"ttft_ms": 1, "itl_ms": 0.05}


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Runs one point of the suite and returns the plan and what the point came to."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": f"{n}"}) for n in range(200)))

    def run(name, endpoint):
        plan = plan_of(tmp_path, SUITE.format(endpoint=endpoint))
        with session_of(plan, tmp_path) as session:
            return plan, session.perf(name)

    return run


def test_a_simulator_with_more_events_than_it_can_write_is_reported_by_verify_too(measured, tmp_path):
    with simulator.start(simulator.Behaviour(model="m", **KNOBS)) as running:
        plan, point = measured("flood", running.url)
    judgement = point.summary.judgement
    assert judgement.outcome == "pass", point.report()
    assert {"simulator", "simulator-bound"} <= set(judgement.labels)
    explanation = point.summary.detail.explanation
    assert explanation.startswith(
        "In phase 'measured' the simulator's own event loop was more than 20 ms late for "
    )
    _, again = remeasure(plan, point.point, point.folder, point.summary, tmp_path)
    assert again.labels == judgement.labels


def test_an_idle_simulator_is_not_reported_as_the_limit(measured, monkeypatch):
    # Others may hold this machine up for as long as the limit; not for two seconds.
    monkeypatch.setattr(rule, "_ON_TIME", bucket(2000))
    _, point = measured("trickle", "simulator")
    assert "simulator" in point.summary.judgement.labels
    assert "simulator-bound" not in point.summary.judgement.labels
    assert not point.summary.detail.explanation


@contextmanager
def log(folder, endpoint=0):
    with (folder / f"{METRICS_LOG}.{endpoint}.jsonl").open("wb") as stream:
        stream.write(header_line(METRICS_LOG, METRICS_VERSION, url="http://h", path="/metrics"))
        lines = []
        yield lambda label, samples: lines.append(
            Reading(label=label, asked_ns=1, answered_ns=2, samples=samples, missing=None)
        )
        stream.writelines(encode_line(msgspec.json.encode(line)) for line in lines)
        stream.write(end_line(len(lines)))


def told(looks, on_time):
    return {f"{SERIES}_count": looks, bucket(rule.LIMIT_MS): on_time, "other": float("nan")}


def found(folder):
    return simulator_bound([SimpleNamespace(label="p", folder=str(folder))])


@pytest.mark.parametrize(
    ("looks", "late", "is_told"),
    [(0, 0, False), (1, 0, False), (50, 1, False), (50, 2, True), (1000, 10, False), (1000, 11, True)],
)
def test_the_limit_is_on_the_p99_of_the_phase_alone(tmp_path, looks, late, is_told):
    with log(tmp_path) as write:
        write("before", told(500, 100))
        write(None, told(500 + looks, 100))
        write("after", told(500 + looks, 100 + looks - late))
    assert bool(found(tmp_path)) is is_told


def test_every_late_endpoint_is_reported(tmp_path):
    for endpoint, on_time in enumerate((100, 40, 10)):
        with log(tmp_path, endpoint) as write:
            write("before", told(0, 0))
            write("after", told(100, on_time))
    assert [sentence.partition(" late for ")[2][:3] for sentence in found(tmp_path)] == ["60%", "90%"]


def test_a_server_without_readings_or_with_a_restart_is_not_reported(tmp_path):
    with log(tmp_path) as write:
        write("before", {"requests": 1.0})
        write("after", None)
    with log(tmp_path, 1) as write:
        write("before", told(500, 500))
        write("after", told(10, 1))
    with log(tmp_path, 2) as write:
        write("before", told(0, 0))
    assert found(tmp_path) == []


def test_a_damaged_log_is_named_with_its_line(tmp_path):
    with (tmp_path / f"{METRICS_LOG}.0.jsonl").open("wb") as stream:
        stream.write(header_line(METRICS_LOG, METRICS_VERSION))
        stream.write(encode_line(b'{"label":1}'))
    with pytest.raises(EvidenceError, match=r"metrics\.0\.jsonl:2: is not a reading"):
        found(tmp_path)
