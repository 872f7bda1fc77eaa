"""Points of one deployment, driven one after the other on a simulator that answers a repeated request from a cache."""

import json
from typing import NamedTuple

import pytest
from byte_level import train
from points_in_process import plan_of, session_of

from pytest_bench.datasets.words import WORDS
from pytest_bench.simulator import read_truth

SUITE = """
suite: s
deployment:
  api: openai-completions
  model: simulated
  endpoint: simulator
  cache_reset: /reset_cache
  metrics_path: null
  tokens: {tokenizer: tokenizer.json}
  simulator: {ttft_ms: 1, itl_ms: 0, cache_after: 2}
datasets:
  monday: {synthetic: {trace: monday.jsonl, block_size: 32}}
  one: {synthetic: {rows: 4, input_tokens: 48, output_tokens: 2}}
  other: {synthetic: {rows: 4, input_tokens: 48, output_tokens: 2}}
  few: {synthetic: {rows: 3, input_tokens: 48, output_tokens: 2}}
perf:
  replay: &replay
    dataset: monday
    load: {pattern: trace, trace: monday.jsonl}
    budget: &patient {vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1, achieved_share: 0.01}
  again: *replay
  first: &four {dataset: one, load: {pattern: concurrency, concurrency: 1, requests: 4}, budget: *patient}
  second: {<<: *four, dataset: other}
  longer: {<<: *four, sweep: {osl: [2, 3]}}
  repeated: {<<: *four, dataset: few}
  warmed:
    dataset: monday
    load: {pattern: concurrency, concurrency: 1, requests: 2}
    warmup: {requests: 1}
    budget: *patient
"""

ARRIVALS = ((90, [0, 1, 2]), (64, [0, 1]), (40, [3, 4]))


class Driven(NamedTuple):
    labels: set[str]
    cached: list[bool]
    """Of each request, in the order in which it was served."""
    prompts: frozenset[str]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """All points in their order, by name."""
    folder = tmp_path_factory.mktemp("cache")
    train([" ".join(WORDS)], 700).save(str(folder / "tokenizer.json"))
    lines = (
        {"timestamp": 0, "input_length": length, "output_length": 2, "hash_ids": ids}
        for length, ids in ARRIVALS
    )
    (folder / "monday.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plan = plan_of(folder, SUITE.replace("tokenizer.json", str(folder / "tokenizer.json")))
    found = {}
    with session_of(plan, folder) as session:
        served = 0
        for point in plan.points:
            measured = session.perf(point.id.removeprefix("s/perf/"))
            truth = read_truth(folder / "deployment" / "simulator.jsonl").records
            loaded = [record.cached for record in truth if record.request_id]
            rows = session.resources.dataset("s", point.dataset).rows
            found[point.name] = Driven(
                set(measured.summary.judgement.labels),
                loaded[served:],
                frozenset(row["prompt"] for row in rows),
            )
            served = len(loaded)
    return found


APART = ("replay", "again", "first", "second", "longer/osl00002", "longer/osl00003")


@pytest.mark.parametrize("name", APART)
def test_no_point_finds_anothers_prompts_in_the_cache(session, name):
    assert session[name].cached == [False] * (3 if name in {"replay", "again"} else 4)
    assert "cache-shared" not in session[name].labels


def test_points_of_datasets_of_their_own_have_no_prompt_in_common(session):
    prompts = [prompt for name in APART for prompt in session[name].prompts]
    assert len(prompts) == len(set(prompts)) == 3 + 3 + 4 * 4


def test_a_point_that_sends_a_prompt_twice_says_so_although_the_cache_can_be_reset(session):
    assert session["repeated"].cached == [False, False, False, True]
    assert "cache-shared" in session["repeated"].labels


def test_a_warm_up_out_of_the_measured_blocks_says_so_although_the_cache_can_be_reset(session):
    assert "cache-shared" in session["warmed"].labels
