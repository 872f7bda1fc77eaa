"""`pytest-bench samples` on sessions: while their evals run, after a kill, and when they have ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

SUITE = """
suite: live
deployment:
  api: openai-completions
  model: simulated
  endpoint: simulator
  simulator: {answers: data/answers.jsonl, ttft_ms: 1, itl_ms: 0.1}
datasets: {sums: {path: data/sums.jsonl}}
eval:
  sums:
    preset: gsm8k
    dataset: sums
    id_column: id
    generation: {max_tokens: 64, stream: false}
    concurrency: 2
    timeouts: {request_s: 600, no_progress_s: null}
    retry: {attempts: 2, on: [5xx], backoff_s: 0.01}
"""
TEST_EVAL = """
import pytest


@pytest.mark.points("eval")
def test_eval(run_load):
    run_load().require()
"""
ANSWERS = {
    "sum-0": {"content": "#### 0"},
    "sum-1": {"content": "#### 99"},
    "sum-2": {"content": "Twice", "finish_reason": "length"},
    "sum-3": {"content": "#### 6", "fault": "http_503", "fault_requests": 1},
    "sum-4": {"content": "#### 8"},
}
STRICT = "exact_match,strict-match"
COMMAND = (sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())", "samples")


@pytest.fixture
def live(folder):
    (folder.root / "bench/tiny.yaml").unlink()
    (folder.root / "bench/test_perf.py").unlink()
    folder.write("bench/live.yaml", SUITE)
    folder.write("bench/test_eval.py", TEST_EVAL)
    answer(folder, ANSWERS)
    return folder


def answer(folder, answers):
    rows = [
        {"id": item, "question": f"What is twice {item[4:]}?", "answer": f"#### {2 * int(item[4:])}"}
        for item in answers
    ]
    given = [{"item": row["id"], "prompt": row["question"], **answers[row["id"]]} for row in rows]
    for name, lines in (("sums", rows), ("answers", given)):
        folder.write(f"bench/data/{name}.jsonl", "".join(f"{json.dumps(line)}\n" for line in lines))


def samples(folder, *words):
    done = subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(out):
    return {one["item"]: one for one in map(json.loads, out.splitlines())}


def test_a_finished_eval_is_shown_from_its_evidence_alone(live):
    ran = live.run()
    assert ran.status == 0, ran.output
    for name in ("answers", "sums"):
        (live.root / f"bench/data/{name}.jsonl").unlink()
    found = listed(samples(live, ran.results, "--json"))
    assert list(found) == list(ANSWERS)
    assert found["sum-3"]["attempts"] == 2
    assert found["sum-3"]["error"].startswith("server_error: ")
    assert found["sum-1"]["prompt"] == "Question: What is twice 1?\nAnswer:"
    assert (found["sum-1"]["outputs"], found["sum-1"]["target"]) == (["#### 99"], "#### 2")
    assert list(listed(samples(live, ran.results, "--wrong", "--json"))) == ["sum-1", "sum-2"]
    assert list(listed(samples(live, ran.results, "--truncated", "--json"))) == ["sum-2"]
    text = samples(live, ran.results, "--item", "sum-3")
    assert "2 attempts; failed: server_error" in text


def test_items_that_flipped_between_two_sessions_are_shown(live):
    before = live.run()
    answer(live, {**ANSWERS, "sum-4": {"content": "#### 7"}})
    after = live.run()
    assert (before.status, after.status) == (0, 0)
    out = samples(
        live, after.results, "--flipped", before.results, after.results, "--metric", STRICT, "--json"
    )
    (flip,) = map(json.loads, out.splitlines())
    assert [flip[side][0]["outputs"] for side in ("before", "after")] == [["#### 8"], ["#### 7"]]


def test_answers_are_shown_while_an_item_hangs_and_after_the_session_was_killed(live):
    answer(live, {**ANSWERS, "sum-5": {"fault": "stall"}})
    results = live.root / "results-live"
    session = subprocess.Popen(
        live.command(results=results), cwd=live.root, env=live.environment(), stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: (results / "plan.json").exists() or session.poll() is not None)
        follower = subprocess.Popen(
            [*COMMAND, str(results), "--follow", "--json"],
            cwd=live.root,
            env=live.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        shown = [json.loads(follower.stdout.readline()) for _ in range(6)]
        assert sorted((one["item"], one["status"]) for one in shown) == sorted(
            [*((item, "completed") for item in ANSWERS), ("sum-3", "failed")]
        )
        assert follower.poll() is None
        found = listed(samples(live, results, "--json"))
        assert [one["status"] for one in found.values()] == ["completed"] * 5 + ["missing"]
        session.send_signal(signal.SIGKILL)
        assert follower.communicate(timeout=300)[0] == ""
        assert follower.returncode == 0
    finally:
        session.kill()
        session.wait()
    assert list(listed(samples(live, results, "--unscored", "--json"))) == ["sum-5"]


def until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)
