"""A whole session on a real server and a real model, from the suite to `verify` and `recount`."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer

from pytest_bench.endpoints.scrape import METRICS_LOG, METRICS_VERSION
from pytest_bench.lines import LineReader
from pytest_bench.load.log import read_records

SUITES = {
    "chat-streamed": ("openai-chat", True),
    "chat-whole": ("openai-chat", False),
    "text-streamed": ("openai-completions", True),
    "text-whole": ("openai-completions", False),
}
"""API and whether it streams, by suite."""

SUITE = """
suite: {suite}
deployment:
  api: {api}
  model: smollm2
  tokens: {{tokenizer: {tokenizer}}}
  generation: {{stream: {stream}, max_tokens: 12, temperature: 0}}
datasets:
  prompts: {{path: data/prompts.jsonl}}
perf:
  steady:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 2, requests: 6}}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
    bounds: {{request_latency.p99: "<= 60s", empty_outputs: "<= 2"}}   # a chat model may not continue a bare text
"""

TEXTS = [
    "Explain why the sky is blue.",
    "List three fruits; give prices in € and £: 12.50, 3,099.",
    "Translate to French: 'I don't know'.",
    "def fibonacci(n):\n    return",
    "Ünïcödé 漢字 🙂 and\ttabs",
    "  leading spaces, 1234567890, and CamelCase",
]


PROMPTS = [
    "Explain why the sky is blue.",
    "Name three fruits.",
    "Write one sentence about a baker.",
    "What is a bridge for?",
    "Describe a quiet morning.",
    "Tell me how a refrigerator keeps food cold.",
]
"""Answers to these are plain English: text that is cut within a character has other tokens than were generated."""


def call(command, *words, cwd):
    ran = subprocess.run(
        [Path(sys.executable).with_name(command), *words],
        cwd=cwd,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
            "PYTEST_BENCH_LEASES": str(cwd),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return SimpleNamespace(status=ran.returncode, output=ran.stdout + ran.stderr)


@pytest.fixture(scope="session")
def session(llama, tmp_path_factory):
    """A session of all four suites, and where its results are."""
    folder = tmp_path_factory.mktemp("session")
    started = call("pytest-bench", "init", "bench", cwd=folder)
    assert started.status == 0, started.output
    (folder / "bench" / "chat.yaml").unlink()
    prompts = "".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS)
    (folder / "bench" / "data" / "prompts.jsonl").write_text(prompts)
    for suite, (api, stream) in SUITES.items():
        text = SUITE.format(
            suite=suite, api=api, stream=str(stream).lower(), tokenizer=json.dumps(str(llama.tokenizer))
        )
        (folder / "bench" / f"{suite}.yaml").write_text(text)
    ran = call(
        *("pytest", "bench", "--complete", f"--endpoint={llama.url}", "--results=results"),
        *("-p", "no:cacheprovider"),
        cwd=folder,
    )
    assert ran.status == 0, ran.output
    return SimpleNamespace(folder=folder, results=folder / "results", output=ran.output)


@pytest.fixture(params=SUITES)
def point(request, session):
    """A point of the session: its folder, its summary and its records."""
    folder = session.results / "points" / request.param / "perf" / "steady"
    return SimpleNamespace(
        suite=request.param,
        streamed=SUITES[request.param][1],
        folder=folder,
        summary=json.loads((folder / "summary.json").read_text()),
        records=list(read_records(folder / "phases" / "measured")),
    )


def asked(llama, path, body):
    request = urllib.request.Request(
        llama.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_in_the_model_file_is_the_servers_own(llama, text):
    tokenizer = Tokenizer.from_file(str(llama.tokenizer / "tokenizer.json"))
    ours = tokenizer.encode(text, add_special_tokens=False).ids
    assert ours == asked(llama, "/tokenize", {"content": text})["tokens"]


def test_every_request_succeeds_and_says_why_it_ended(point):
    assert [record.outcome for record in point.records] == ["succeeded"] * 6
    assert {record.finish_reason for record in point.records} <= {"stop", "length"}
    assert point.summary["judgement"]["outcome"] == "pass"


def test_input_tokens_are_those_that_the_server_counts(point):
    metrics = point.summary["measurement"]["metrics"]
    assert metrics["input_tokens"]["statistics"] == metrics["server_input_tokens"]["statistics"]


def test_output_tokens_are_those_that_the_server_counts_but_for_the_one_that_ends_an_answer(point):
    metrics = point.summary["measurement"]["metrics"]
    difference = metrics["token_count_difference"]["statistics"]
    assert difference["min"] >= -1
    assert difference["max"] <= 1


def test_a_stream_has_a_time_for_each_token_and_a_whole_answer_has_none(point):
    metrics = point.summary["measurement"]["metrics"]
    for record in point.records:
        events = pytest.approx(record.usage.output_tokens, abs=1) if point.streamed else 0
        assert record.content_event_count == events
    for name in ("time_to_first_token", "time_per_output_token", "inter_chunk_latency"):
        assert ("statistics" in metrics[name]) == point.streamed


def test_the_servers_own_metrics_stand_beside_the_phase_and_agree_with_its_requests(point):
    log = point.folder / "phases" / "measured" / "metrics.0.jsonl"
    before, after = (json.loads(line)["samples"] for line in LineReader(log, METRICS_LOG, METRICS_VERSION))
    made = after["llamacpp:tokens_predicted_total"] - before["llamacpp:tokens_predicted_total"]
    assert made == sum(record.usage.output_tokens for record in point.records)


def test_cached_tokens_that_the_server_reports_make_the_label(point):
    usages = [record.usage for record in point.records]
    share = sum(usage.cached_tokens for usage in usages) / sum(usage.input_tokens for usage in usages)
    metric = point.summary["measurement"]["metrics"]["server_cached_token_share"]
    assert metric["value"] == pytest.approx(share)
    assert ("server-cached" in point.summary["judgement"]["labels"]) == (share > 0.1)
    if point.suite == "chat-whole":  # it sends again what chat-streamed has sent
        assert share > 0.5


def test_the_identity_is_the_servers(point):
    (identity,) = point.summary["identities"]
    assert (identity["served_models"], identity["server"]) == (["smollm2"], "llama.cpp")


def test_verify_finds_the_session_good(session):
    verified = call("pytest-bench", "verify", "results", cwd=session.folder)
    assert verified.status == 0, verified.output


def test_recount_finds_what_the_session_found(session):
    recounted = call("pytest-bench", "recount", "results", cwd=session.folder)
    assert recounted.status == 0, recounted.output
    assert recounted.output.count("outcome: pass (before: pass)") == len(SUITES)


def test_what_verify_finds_good_it_finds_bad_with_one_byte_changed(session, tmp_path):
    copy = tmp_path / "results"
    subprocess.run(["cp", "-r", str(session.results), str(copy)], check=True)
    log = copy / "points" / "chat-streamed" / "perf" / "steady" / "phases" / "measured" / "requests.0.jsonl"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    assert call("pytest-bench", "verify", str(copy), cwd=session.folder).status == 1
