"""Data that change between planning and loading are noticed."""

import json

import pytest

from pytest_bench.api import BUILTIN
from pytest_bench.catalogue import vocabulary
from pytest_bench.errors import DatasetError
from pytest_bench.running.resources import _require_as_planned
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan

SUITE = """
suite: s
deployment: {api: openai-completions, model: m, endpoint: "http://one:1"}
datasets:
  rows: {path: rows.jsonl}
  made: {synthetic: {trace: trace.jsonl}}
  plain: {synthetic: {rows: 4, input_tokens: 5}}
perf:
  a: {dataset: rows, load: {pattern: concurrency, concurrency: 1, requests: 1}}
"""


@pytest.fixture
def datasets(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Hello"}))
    (tmp_path / "trace.jsonl").write_text('{"timestamp": 0, "input_length": 9, "output_length": 1}\n')
    suite = tmp_path / "s.yaml"
    suite.write_text(SUITE)
    return load_plan([suite], vocabulary(BUILTIN), Overrides(), {}, root=tmp_path).datasets["s"]


def test_a_dataset_that_matches_the_plan_is_used(datasets):
    for dataset in datasets.values():
        _require_as_planned(dataset)


@pytest.mark.parametrize(("name", "file"), [("rows", "rows.jsonl"), ("made", "trace.jsonl")])
def test_a_dataset_that_changed_after_planning_is_refused(datasets, tmp_path, name, file):
    with (tmp_path / file).open("a") as stream:
        stream.write("\n")
    with pytest.raises(DatasetError, match=f"{file}: has changed since this session was planned"):
        _require_as_planned(datasets[name])
