"""A folder with an eval of small sums, whose simulator answers from a file.

The simulator is fast, so the client's own time is a large part of every request: the budget allows it.
"""

from __future__ import annotations

import json
import textwrap

SUITE = """\
suite: tiny
deployment:
  api: openai-completions
  model: simulated
  endpoint: ${ENDPOINT:-}
  simulator: {answers: data/answers.jsonl, ttft_ms: 5, itl_ms: 0.1}
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
    budget: {vacancy: 1}
    sweep: {concurrency: [1, 2, 4]}
"""

TEST_EVAL = """\
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


def write_eval(root, *, items=ITEMS, answers=None, body="", fields=""):
    """Write suite, test and data below `root/bench`.

    `answers` by number of the item are other than the right ones: a text, or fields of the simulator's line. `fields`
    are more fields of the eval, `body` more of the suite.
    """
    bench = root / "bench"
    (bench / "data").mkdir(parents=True, exist_ok=True)
    (bench / "tiny.yaml").write_text(SUITE + textwrap.indent(fields, "    ") + body)
    (bench / "test_eval.py").write_text(TEST_EVAL)
    rows = [row(number) for number in range(items)]
    write_rows(bench / "data/sums.jsonl", rows)
    write_rows(bench / "data/shots.jsonl", [row(number) for number in range(1000, 1003)])
    given = []
    for number, one in enumerate(rows):
        answer = (answers or {}).get(number, one["answer"])
        own = answer if isinstance(answer, dict) else {"content": answer}
        given.append({"prompt": one["question"], "item": one["id"], **own})
    write_rows(bench / "data/answers.jsonl", given)


def make_eval(folder, **changes):
    """Turn a folder of `bench_folder` into one with an eval."""
    (folder.root / "bench/test_perf.py").unlink(missing_ok=True)
    write_eval(folder.root, **changes)


def write_rows(path, rows):
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))


def summary(ran, point=POINTS[0]):
    return json.loads((ran.results / "points" / point / "summary.json").read_text())


def metrics(ran, point=POINTS[0]):
    return {
        name: metric.get("value") for name, metric in summary(ran, point)["measurement"]["metrics"].items()
    }
