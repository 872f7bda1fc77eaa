"""Points on several endpoints, and on servers that answer from a cache: what is labelled, and what is split."""

import json
from contextlib import ExitStack

import pytest
from points_in_process import plan_of, session_of

from pytest_bench.perf.remeasure import remeasure
from pytest_bench.results.summary import read_summary
from pytest_bench.running.replicas import differences
from pytest_bench.simulator import Behaviour, start

SUITE = """
suite: s
deployment: {api: openai-chat, model: m, metrics_path: null, generation: {max_tokens: 4}}
datasets: {prompts: {path: prompts.jsonl}}
perf:
  p:
    dataset: prompts
    load: {pattern: concurrency, concurrency: 1, requests: %d}
    budget: {vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1, achieved_share: 0.01}
"""


@pytest.fixture
def measured(tmp_path):
    """Runs the suite's point on a simulator for each behaviour and returns its summary, checked as `verify` does."""
    with ExitStack() as stack:

        def run(*behaviours, requests=8):
            urls = tuple(stack.enter_context(start(behaviour)).url for behaviour in behaviours)
            prompts = [json.dumps({"prompt": f"Say {number}"}) for number in range(8)]
            (tmp_path / "prompts.jsonl").write_text("\n".join(prompts))
            plan = plan_of(tmp_path, SUITE % requests, endpoints=urls)
            (point,) = plan.points
            with session_of(plan, tmp_path) as session:
                folder = session.perf(point.name).folder
            summary = read_summary(folder)
            again = remeasure(plan, point, folder, summary, tmp_path)
            assert again == (summary.measurement, summary.judgement)
            return summary

        yield run


def test_metrics_of_replicas_are_also_given_endpoint_by_endpoint(measured):
    summary = measured(Behaviour(model="m", ttft_ms=1), Behaviour(model="m", ttft_ms=400))
    fast, slow = summary.measurement.endpoints
    assert [(part.endpoint, part.issued, part.succeeded, part.failed) for part in (fast, slow)] == [
        (0, 4, 4, 0),
        (1, 4, 4, 0),
    ]
    assert slow.metrics["time_to_first_token"].statistics["min"] >= 400e6
    assert (
        fast.metrics["time_to_first_token"].statistics["max"]
        < slow.metrics["time_to_first_token"].statistics["min"]
    )
    assert "replicas-differ" not in summary.judgement.labels


def test_a_single_endpoint_is_not_split(measured):
    assert measured(Behaviour(model="m", ttft_ms=1)).measurement.endpoints == ()


def test_replicas_of_different_versions_are_labelled_and_explained(measured):
    one, other = (Behaviour(model="m", ttft_ms=1, reported_version=version) for version in ("0.9", "0.10"))
    summary = measured(one, other)
    assert "replicas-differ" in summary.judgement.labels
    assert "The endpoints differ in version (http" in summary.detail.explanation
    assert ": 0.9, http" in summary.detail.explanation


@pytest.mark.parametrize(("requests", "share"), [(8, 0.0), (16, 0.5)])
def test_a_point_is_labelled_if_the_server_reports_cached_tokens(measured, requests, share):
    summary = measured(Behaviour(model="m", ttft_ms=1, cache_after=2), requests=requests)
    assert summary.measurement.value("server_cached_token_share") == share
    assert ("server-cached" in summary.judgement.labels) == (share > 0)


def identity(**facts):
    return {"url": "http://h", "served_models": ["a", "b"], "version": "1", "server": "s", **facts}


@pytest.mark.parametrize(
    ("other", "differ"),
    [
        ({}, []),
        ({"served_models": ["b", "a"]}, []),
        ({"served_models": ["a"]}, ["served models"]),
        ({"served_models": None}, ["served models"]),
        ({"version": None}, ["version"]),
        ({"server": "t", "version": "2"}, ["version", "Server header"]),
    ],
)
def test_the_identities_that_servers_report_are_compared(other, differ):
    found = differences([identity(), identity(**other)])
    assert [sentence.partition(" differ in ")[2].partition(" (")[0] for sentence in found] == differ
