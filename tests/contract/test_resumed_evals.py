"""Sessions that are resumed: from the command that they print to the verdict."""

from __future__ import annotations

import json
import signal
import time
import urllib.request

import pytest
from eval_folder import POINTS, STRICT, make_eval, metrics, summary

from pytest_bench.checkpoints import read_checkpoint
from pytest_bench.simulator import Behaviour, start
from pytest_bench.verify import verify_session

ITEMS = 40
POINT = POINTS[2]
ONLY = ("-k", "c0004")


@pytest.fixture
def server(folder):
    """A server elsewhere, whose every answer takes as long as a test needs to end the session."""
    make_eval(folder, items=ITEMS)
    answers = str(folder.root / "bench/data/answers.jsonl")
    with start(Behaviour(answers=answers, ttft_ms=100, itl_ms=0.1)) as simulator:
        folder.endpoint = simulator.url
        yield simulator


def received(server):
    with urllib.request.urlopen(f"{server.url}/received", timeout=10) as answer:
        return sum(item["received"] for item in json.load(answer)["items"])


def end_early(folder, server, results, number):
    """Start a session, and send a signal once half of the items were asked; its output."""
    process = folder.start(*ONLY, "--endpoint", server.url, results=results)
    while process.poll() is None and received(server) < ITEMS / 2:
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0, out
    return out


def resume(folder, results, *args):
    ran = folder.run(*ONLY, "--resume", str(results), *args, results=None)
    return folder.read(ran.status, ran.output, results)


def nonce(ran):
    return json.loads((ran.results / "verdict.json").read_text())["nonce"]


def test_a_killed_session_is_continued_by_the_command_that_verify_gives(folder, server):
    results = folder.root / "killed"
    end_early(folder, server, results, signal.SIGKILL)
    problems = verify_session(results).problems
    command = next(problem for problem in problems if "continue its evals in this folder" in problem)
    assert f"pytest bench {' '.join(ONLY)} --endpoint {server.url} --resume" in command
    old = json.loads((results / "verdict.json").read_text())
    before = len(read_checkpoint(results / "points" / POINT / "checkpoint.jsonl").results)
    asked = received(server)
    assert 0 < before < ITEMS
    ran = resume(folder, results)
    assert (ran.status, ran.outcomes) == (0, {POINT: "pass"}), ran.output
    assert ITEMS - before <= received(server) - asked <= ITEMS - before + 4
    assert nonce(ran) != old["nonce"]
    assert json.loads((results / "sessions" / old["nonce"] / "verdict.json").read_text()) == old
    assert [one["nonce"] for one in summary(ran, POINT)["detail"]["sessions"]] == [old["nonce"], nonce(ran)]
    assert metrics(ran, POINT)[STRICT] == 1
    assert verify_session(results).problems == ()


def test_an_interrupted_session_prints_the_command_that_continues_it(folder, server):
    results = folder.root / "interrupted"
    out = end_early(folder, server, results, signal.SIGTERM)
    assert f"resume: pytest bench {' '.join(ONLY)} --endpoint {server.url} --resume interrupted" in out
    ran = resume(folder, results)
    assert (ran.status, ran.outcomes) == (0, {POINT: "pass"}), ran.output
    assert metrics(ran, POINT)["retried_requests"] == 0
    assert verify_session(results).problems == ()


def test_resuming_a_finished_session_requests_nothing_and_passes(folder, server):
    first = folder.run(*ONLY, results="finished")
    assert first.status == 0, first.output
    asked, results = received(server), (folder.root / "finished")
    files = {path.name: path.stat().st_size for path in (results / "evals/tiny/sums").glob("*conc4*")}
    ran = resume(folder, results)
    assert (ran.status, ran.outcomes) == (0, {POINT: "pass"}), ran.output
    assert received(server) == asked
    assert nonce(ran) != nonce_before(results, ran)
    assert {path.name for path in (results / "evals/tiny/sums").glob("*conc4*")} == files.keys()
    assert verify_session(results).problems == ()


def nonce_before(results, ran):
    (folder,) = (results / "sessions").iterdir()
    assert folder.name != nonce(ran)
    return folder.name


def test_a_resumed_session_is_red_until_it_ends(folder, server):
    results = folder.root / "finished"
    folder.run(*ONLY, results="finished")
    suite = folder.root / "bench/tiny.yaml"
    suite.write_text(suite.read_text().replace("count: 2", "count: 1"))
    ran = resume(folder, results)
    assert (ran.status, ran.outcomes) == (1, {POINT: "error"}), ran.output
    assert "prompts was" in ran.output
    assert (results / "points" / POINT / "checkpoint.jsonl").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--resume", "nowhere"), "there is no such folder"),
        (("--resume", "bench"), "holds no session to resume"),
        (("--resume", "latest", "--results", "new"), "--results and --resume both name a results folder"),
    ],
)
def test_what_cannot_be_resumed_is_refused(folder, args, said):
    make_eval(folder)
    ran = folder.run(*args, results=None)
    assert ran.status == 4
    assert said in ran.output
