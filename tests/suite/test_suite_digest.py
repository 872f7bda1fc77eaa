from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from suite_bench import VOCABULARY

from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan

SUITE = textwrap.dedent("""
    suite: s
    deployment: {api: openai-chat, model: m, endpoint: "http://h:1", tokens: {tokenizer: tok}}
    datasets: {rows: {path: %s}, unused: {path: unused.jsonl}}
    perf:
      one:
        dataset: rows
        load: {pattern: concurrency, concurrency: 1, requests: 4}
        bounds: {error_rate: "<= 1%%"}
""")


@pytest.fixture
def plan_in(tmp_path):
    def plan(place: str, text: str = SUITE % "rows.jsonl", root: Path = tmp_path, **overrides):
        folder = tmp_path / place
        (folder / "tok").mkdir(parents=True)
        (folder / "s.yaml").write_text(text, encoding="utf-8")
        return load_plan([folder / "s.yaml"], VOCABULARY, Overrides(**overrides), {}, root=root)

    return plan


def test_digests_do_not_change_with_the_place_of_the_checkout(plan_in, tmp_path):
    here = plan_in("here/bench", root=tmp_path / "here")
    there = plan_in("far/away/bench", root=tmp_path / "far" / "away")
    assert here.datasets["s"]["rows"].path != there.datasets["s"]["rows"].path
    assert here.digest() == there.digest()


def test_the_digest_does_not_depend_on_the_place_of_the_checkout(plan_in, tmp_path):
    text = SUITE % "../data/rows.jsonl"
    here = plan_in("here/bench", text, root=tmp_path / "here")
    there = plan_in("far/away/bench", text, root=tmp_path / "far" / "away")
    assert here.digest() == there.digest()


def test_digests_do_not_change_with_the_line_of_a_declaration(plan_in):
    plain, commented = plan_in("a"), plan_in("b", "# a comment\n" + SUITE % "rows.jsonl")
    assert plain.points[0].bounds[0].origin != commented.points[0].bounds[0].origin
    assert plain.digest() == commented.digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("requests: 4", "requests: 5"),
        ("<= 1%", "<= 2%"),
        ("rows.jsonl", "others.jsonl"),
        ("model: m", "model: n"),
    ],
)
def test_digests_change_with_the_declarations(plan_in, old, new):
    text = SUITE % "rows.jsonl"
    assert old in text
    one, other = plan_in("a", text), plan_in("b", text.replace(old, new))
    assert one.point_digest(one.points[0]) != other.point_digest(other.points[0])
    assert one.digest() != other.digest()


def test_digests_change_with_the_endpoint(plan_in):
    assert plan_in("a").digest() != plan_in("b", endpoints=("http://other:1",)).digest()


def test_a_dataset_that_no_point_names_changes_no_digest(plan_in):
    text = SUITE % "rows.jsonl"
    assert plan_in("a", text).digest() == plan_in("b", text.replace("unused.jsonl", "more.jsonl")).digest()


TRACED = """
suite: s
deployment: {api: openai-chat, model: m, endpoint: "http://h:1"}
datasets: {monday: {synthetic: {trace: monday.jsonl}}}
perf:
  one: {dataset: monday, load: {pattern: trace, trace: monday.jsonl}}
"""


@pytest.mark.parametrize(
    ("text", "name", "old", "new"),
    [
        (SUITE % "rows.jsonl", "rows.jsonl", '{"prompt": "a"}\n', '{"prompt": "b"}\n'),
        (
            TRACED,
            "monday.jsonl",
            '{"timestamp": 0, "input_length": 9, "output_length": 2, "hash_ids": [1]}\n',
            '{"timestamp": 0, "input_length": 9, "output_length": 2, "hash_ids": [2]}\n',
        ),
    ],
    ids=["file", "trace"],
)
def test_digests_change_with_the_contents_of_data_files(plan_in, tmp_path, text, name, old, new):
    digests = []
    for place, content in (("a", old), ("b", old), ("c", new)):
        (tmp_path / place).mkdir()
        (tmp_path / place / name).write_text(content, encoding="utf-8")
        plan = plan_in(place, text, root=tmp_path / place)
        digests.append((plan.digest(), plan.point_digest(plan.points[0])))
    first, again, changed = digests
    assert first == again
    assert all(was != now for was, now in zip(first, changed, strict=True))


def test_a_pipe_is_never_waited_for(plan_in, tmp_path):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "rows.jsonl")
    assert plan_in("a").datasets["s"]["rows"].contents is None
