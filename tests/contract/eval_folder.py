"""A folder with an eval of small sums, whose simulator answers from a file."""

from __future__ import annotations

import json
import textwrap

SUITE = """
suite: tiny
deployment:
  api: openai-completions
  model: simulated
  endpoint: ${ENDPOINT:-}
  simulator: {answers: bench/data/answers.jsonl, ttft_ms: 5, itl_ms: 0.1}
  tokens: {count: usage}
  ready_timeout_s: 10
datasets:
  sums: {path: data/sums.jsonl}
  shots: {path: data/shots.jsonl}
eval:
  sums:
    preset: gsm8k
    dataset: sums
    id_column: id
    few_shots: {dataset: shots, count: 2}
    generation: {max_tokens: 64, stream: false}
    sweep: {concurrency: [1, 2, 4]}
"""

TEST_EVAL = """
import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
"""

POINTS = tuple(f"tiny/eval/sums/c{concurrency:04}" for concurrency in (1, 2, 4))
ITEMS = 8
STRICT, FLEXIBLE = "exact_match,strict-match", "exact_match,flexible-extract"


def question(number):
    return f"How many are {number} and {number + 1}, counted twice?"


def row(number):
    total = 2 * (2 * number + 1)
    return {"id": f"sum-{number}", "question": question(number), "answer": f"Twice that.\n#### {total}"}


def make_eval(folder, *, items=ITEMS, answers=None, body="", fields=""):
    """Turn a folder of `bench_folder` into one with an eval. `answers` by number of the item; others are right."""
    (folder.root / "bench/test_perf.py").unlink()
    folder.write("bench/tiny.yaml", SUITE + textwrap.indent(fields, "    ") + body)
    folder.write("bench/test_eval.py", TEST_EVAL)
    rows = [row(number) for number in range(items)]
    write(folder, "sums", rows)
    write(folder, "shots", [row(number) for number in range(1000, 1003)])
    given = [
        {"prompt": one["question"], "answer": (answers or {}).get(number, one["answer"])}
        for number, one in enumerate(rows)
    ]
    write(folder, "answers", given)


def write(folder, name, rows):
    folder.write(f"bench/data/{name}.jsonl", "".join(f"{json.dumps(one)}\n" for one in rows))


def summary(ran, point=POINTS[0]):
    return json.loads((ran.results / "points" / point / "summary.json").read_text())


def metrics(ran, point=POINTS[0]):
    return {
        name: metric.get("value") for name, metric in summary(ran, point)["measurement"]["metrics"].items()
    }
