"""`--collect-only` shows what would run, and refuses what a run would refuse without its servers."""

from __future__ import annotations

import pytest

BROKEN = {
    "a dataset that is not there": (
        ("bench/tiny.yaml", "data/prompts.jsonl", "data/gone.jsonl"),
        "data/gone.jsonl",
    ),
    "a bad row": (("bench/data/prompts.jsonl", '{"prompt": "Tell me about number 3."}', "3"), "jsonl:4"),
    "a tokenizer that is not there": (
        ("bench/tiny.yaml", "model: simulated", "model: simulated\n  tokens: {tokenizer: ./gone}"),
        "no such file or folder",
    ),
    "a file that is no tokenizer": (
        (
            "bench/tiny.yaml",
            "model: simulated",
            "model: simulated\n  tokens: {tokenizer: data/prompts.jsonl}",
        ),
        "is not a tokenizer",
    ),
    "an interval that needs more requests": (
        (
            "bench/tiny.yaml",
            '{request_latency.p99: "<= 60s"}',
            '{request_latency.p99: {bound: "<= 60s", confidence: 0.9}}',
        ),
        "for an interval of confidence",
    ),
}


@pytest.mark.parametrize("how", [["--collect-only"], ["--setup-plan"], []], ids=["collect", "plan", "run"])
@pytest.mark.parametrize("what", BROKEN)
def test_problems_that_need_no_server_are_reported_when_collecting_and_when_running(folder, what, how):
    edit, told = BROKEN[what]
    folder.edit(*edit)
    ran = folder.run("-n0", *how, results=None)
    assert (ran.status, told in ran.output) == (4, True), ran.output
    assert not (folder.root / "results").exists()


def test_a_call_that_only_collects_needs_no_endpoint(folder):
    folder.edit("bench/tiny.yaml", "${ENDPOINT:-}", '""')
    ran = folder.run("--collect-only", "-q", results=None)
    assert ran.status == 0, ran.output


def test_a_tokenizer_of_the_hub_is_not_fetched_to_collect(folder):
    folder.edit("bench/tiny.yaml", "model: simulated", "model: simulated\n  tokens: {tokenizer: maker/model}")
    folder.environ["HF_HUB_CACHE"] = str(folder.root / "hub")
    ran = folder.run("--collect-only", results=None)
    assert ran.status == 0, ran.output


def test_with_v_the_bounds_of_each_selected_point_are_shown(folder):
    text = (folder.root / "bench/tiny.yaml").read_text()
    folder.write("bench/tiny.yaml", text.replace('    bounds: {request_latency.p99: "<= 60s"}\n', "", 1))
    shown = folder.run("--collect-only", "-v", results=None).output
    described = shown[shown.index("\ntiny/perf/one\n") : shown.index("\n<")].strip().splitlines()
    assert described == [
        "tiny/perf/one",
        "  implied: failed_requests == 0, empty_outputs == 0 (unbounded: declares no bounds)",
        "tiny/perf/two",
        "  bound: request_latency.p99 <= 60s",
        "  implied: failed_requests == 0, empty_outputs == 0",
    ]
    assert "bound:" not in folder.run("--collect-only", results=None).output
