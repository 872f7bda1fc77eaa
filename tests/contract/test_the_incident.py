"""Ten concurrencies were requested, and one ran: the incident that the contract prevents."""

from __future__ import annotations

import json

import pytest

from pytest_bench.cli import main

SIMULATOR = "--endpoint=simulator"
ASKED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SWEEP = """
suite: tiny
deployment: {api: openai-chat, model: simulated, simulator: {ttft_ms: 1, itl_ms: 0.1, output_tokens: 2}}
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
  sweep:
    dataset: prompts
    load: {pattern: concurrency, requests: 512}
    sweep: {concurrency: [%s]}
    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    bounds: {request_latency.p99: "<= 60s"}
"""


def write_sweep(folder, concurrencies):
    folder.write("bench/tiny.yaml", SWEEP % ", ".join(map(str, concurrencies)))


@pytest.fixture
def expectation(folder, monkeypatch):
    """What was asked for, written down where the run's own environment cannot reach it."""
    write_sweep(folder, ASKED)
    monkeypatch.chdir(folder.root)
    assert main(["plan", "bench", SIMULATOR, "--output", "expectation.json"]) == 0
    names = list(json.loads((folder.root / "expectation.json").read_text())["points"])
    assert len(names) == 10
    return names


def test_a_run_that_lost_nine_of_ten_is_red_and_names_the_nine(folder, expectation, capsys):
    write_sweep(folder, ASKED[:1])
    ran = folder.run("-n0", "--expect", "expectation.json", SIMULATOR)
    assert (ran.status, ran.verdict["status"]) == (1, "error")
    assert [name for name, outcome in ran.outcomes.items() if outcome == "missing"] == expectation[1:]
    assert [name.partition("::")[2] for name, case in ran.junit.items() if case == "error"][
        :9
    ] == expectation[1:]
    assert main(["verify", str(ran.results), "--expect", "expectation.json"]) == 1
    told = capsys.readouterr().err
    assert all(name in told for name in expectation[1:])


def test_a_run_of_what_was_asked_passes_its_gate(folder, expectation, capsys):
    write_sweep(folder, ASKED[:2])
    assert main(["plan", "bench", SIMULATOR, "--output", "expectation.json"]) == 0
    ran = folder.run("-n0", "--complete", "--expect", "expectation.json", SIMULATOR)
    assert (ran.status, ran.verdict["status"]) == (0, "pass"), ran.output
    assert ran.verdict["expectation_digest"]
    assert main(["verify", str(ran.results), "--expect", "expectation.json"]) == 0, capsys.readouterr().err
