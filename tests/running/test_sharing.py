"""Which points may find in a cache what was sent before, as the plan tells it."""

import json

import pytest

from pytest_bench.api import BUILTIN
from pytest_bench.catalogue import vocabulary
from pytest_bench.running.sharing import sends_again, share_of
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan

HEAD = "suite: {name}\ndeployment: {{api: openai-completions, model: m, endpoint: '{url}'}}\n"
LOAD = "load: {pattern: concurrency, concurrency: 1, requests: 4}"
FILE = f"datasets: {{d: {{path: d.jsonl}}}}\nperf:\n  p: {{dataset: d, {LOAD}}}\n"
COPY = FILE.replace("d.jsonl", "copy.jsonl")
OTHER = FILE.replace("d.jsonl", "other.jsonl")
MADE = f"datasets: {{d: {{synthetic: {{rows: 9, input_tokens: 5}}}}}}\nperf:\n  p: {{dataset: d, {LOAD}}}\n"
BLOCKS = "datasets: {d: {synthetic: {trace: t.jsonl, block_size: 8}}}\nperf:\n"
ONE, TWO = "http://one:1", "http://two:2"


@pytest.fixture
def plan(tmp_path):
    """A plan of suites `a`, `b`, …, each given as its URL and the rest of its text."""
    rows = [json.dumps({"prompt": f"prompt {number}"}) for number in range(20)]
    for name in ("d", "copy"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    (tmp_path / "other.jsonl").write_text("\n".join(rows[:7]))
    (tmp_path / "t.jsonl").write_text(
        '{"timestamp": 0, "input_length": 9, "output_length": 1, "hash_ids": [0, 1]}\n' * 20
    )

    def made(*suites):
        files = []
        for name, (url, text) in zip("abc", suites, strict=False):
            file = tmp_path / f"{name}.yaml"
            file.write_text(HEAD.format(name=name, url=url) + text)
            files.append(file)
        return load_plan(files, vocabulary(BUILTIN), Overrides(), {}, root=tmp_path)

    return made


def shared(plan, rows=20):
    return [share_of(plan, point, rows).shared for point in plan.points]


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ((ONE, FILE), (ONE, FILE), True),
        ((ONE, FILE), (ONE, COPY), True),
        ((ONE, FILE), (ONE, OTHER), False),
        ((ONE, FILE), (TWO, FILE), False),
        (("simulator", FILE), ("simulator", FILE), False),
        ((ONE, MADE), (ONE, MADE), True),
        ((ONE, MADE), (ONE, MADE.replace("input_tokens: 5", "input_tokens: 5, seed: 1")), False),
        ((ONE, MADE), (ONE, MADE.replace("{d: ", "{e: ").replace("dataset: d", "dataset: e")), False),
        ((ONE, FILE), (ONE, MADE), False),
    ],
)
def test_suites_share_samples_if_one_server_gets_prompts_of_one_source(plan, first, second, alike):
    assert shared(plan(first, second)) == [alike, alike]


def test_a_file_under_two_names_is_shared(plan):
    text = FILE.replace("{d: ", "{e: {path: d.jsonl}, d: ") + f"  q: {{dataset: e, {LOAD}}}\n"
    assert shared(plan((ONE, text))) == [True, True]


def test_points_of_one_dataset_have_separate_rows_and_share_only_if_there_are_too_few(plan):
    text = FILE.replace("requests: 4}", "requests: 4}, sweep: {concurrency: [1, 2]}").replace(
        "concurrency: 1, ", ""
    )
    assert shared(plan((ONE, text))) == [False, False]
    assert shared(plan((ONE, text)), rows=7) == [False, True]


def test_rows_that_a_point_with_too_few_rows_sent_before_are_shared(plan):
    big, small = LOAD.replace("requests: 4}", "requests: 18}, warmup: {requests: 5}"), LOAD
    first = f"datasets: {{d: {{path: d.jsonl}}}}\nperf:\n  p: {{dataset: d, {big}}}\n  q: {{dataset: d, {small}}}\n"
    last = f"datasets: {{d: {{path: d.jsonl}}}}\nperf:\n  q: {{dataset: d, {small}}}\n  p: {{dataset: d, {big}}}\n"
    assert shared(plan((ONE, first))) == [True, True]
    assert shared(plan((ONE, last))) == [False, True]


def test_points_whose_prompts_begin_with_the_same_blocks_share(plan):
    one = f"  p: {{dataset: d, {LOAD}}}\n"
    assert shared(plan((ONE, BLOCKS + one))) == [False]
    assert shared(plan((ONE, BLOCKS + one + one.replace("p:", "q:")))) == [True, True]


@pytest.mark.parametrize(
    ("load", "warmup", "again"),
    [
        (LOAD, "{requests: 2}", True),
        (LOAD, "{requests: 2, samples: salted}", False),
        ("load: {pattern: trace, trace: t.jsonl}", "{requests: 2}", False),
        ("load: {pattern: trace, trace: times.jsonl}", "{requests: 2}", True),
    ],
)
def test_a_warm_up_with_measured_blocks_fills_the_cache_with_them(plan, tmp_path, load, warmup, again):
    (tmp_path / "times.jsonl").write_text('{"timestamp": 0}\n' * 3)
    planned = plan((ONE, f"{BLOCKS}  p: {{dataset: d, {load}, warmup: {warmup}}}\n"))
    (point,) = planned.points
    assert sends_again(planned, point, share_of(planned, point, 22), 4) is again


@pytest.mark.parametrize(
    ("order", "issued", "again"),
    [
        ("without_replacement", 4, False),
        ("without_replacement", 5, True),
        ("sequential", 4, False),
        ("with_replacement", 2, True),
        ("with_replacement", 1, False),
        ("single, index: 3", 2, True),
        ("single, index: 3", 1, False),
    ],
)
def test_more_requests_than_samples_repeat_a_sample(plan, order, issued, again):
    planned = plan((ONE, FILE.replace(LOAD, f"{LOAD}, order: {{order: {order}}}")))
    (point,) = planned.points
    assert sends_again(planned, point, share_of(planned, point, 4), issued) is again
