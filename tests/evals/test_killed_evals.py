"""An eval killed at random moments, compared with the server's own count of requests."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from eval_folder import POINTS, write_eval

from pytest_bench.checkpoints import open_checkpoint
from pytest_bench.errors import UsageError
from pytest_bench.simulator import Behaviour, start

ITEMS, CONCURRENCY = 120, 4
KILLS = 100 if os.environ.get("CI") else 10
POINT = POINTS[2]
PROCESS = str(Path(__file__).with_name("eval_process.py"))


class Runs:
    """Sessions of one eval point, each a process of its own, on one server."""

    def __init__(self, root, url):
        self.root, self.url = root, url
        self.started = 0

    def received(self):
        """Number of requests for each item so far."""
        with urllib.request.urlopen(f"{self.url}/received", timeout=10) as answer:
            return {item["item"]: item["received"] for item in json.load(answer)["items"]}

    def start(self, results, limit_bytes=None):
        """`limit_bytes`: the longest file that the session may write, as a disk that fills up."""
        self.started += 1
        limits = [] if limit_bytes is None else ["prlimit", f"--fsize={limit_bytes}"]
        return subprocess.Popen(
            [
                *limits,
                sys.executable,
                PROCESS,
                str(self.root / "bench"),
                str(results),
                POINT,
                f"{self.started:016}",
            ],
            env={**os.environ, "ENDPOINT": self.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, results):
        """Outcome and metrics of a session that is not killed."""
        process = self.start(results)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        outcome, measured = out.splitlines()
        return outcome, json.loads(measured)


@pytest.fixture
def runs(tmp_path):
    # an answer that is wrong, one that is empty, and one that never comes, so that a request stays unscored
    answers = {3: "#### 1", 5: "", 9: {"fault": "http_500"}}
    write_eval(tmp_path, items=ITEMS, answers=answers, fields="unscored: {count: 2}\n")
    behaviour = Behaviour(answers=str(tmp_path / "bench/data/answers.jsonl"), ttft_ms=15, itl_ms=0.1)
    with start(behaviour) as simulator:
        yield Runs(tmp_path, simulator.url)


def contents_of(path):
    """The checkpoint of a session that was killed, once its load worker has ended, too."""
    while True:
        try:
            with open_checkpoint(path) as checkpoint:
                return checkpoint.contents
        except UsageError:
            time.sleep(0.01)


def test_kills_lose_no_answer_and_repeat_at_most_the_requests_in_flight(runs, tmp_path):
    choose = random.Random(11)
    outcome, undisturbed = runs.finish(tmp_path / "undisturbed")
    assert (outcome, undisturbed["completed"], undisturbed["failed"]) == ("pass", ITEMS - 1, 1)
    kills = folder = 0
    while kills < KILLS:
        folder += 1
        results = tmp_path / f"killed-{folder}"
        path = results / "points" / POINT / "checkpoint.jsonl"
        base, done, of_folder = runs.received(), set(), 0
        while kills < KILLS and len(done) < ITEMS - 20:
            asked_before = runs.received()
            process = runs.start(results)
            # 0: while it starts up; more: after so many more requests have arrived
            moment = choose.choice([0, choose.randrange(1, ITEMS // 3)])
            while (
                process.poll() is None and sum(runs.received().values()) < sum(asked_before.values()) + moment
            ):
                pass
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills, of_folder = kills + 1, of_folder + 1
            if not path.exists():
                continue
            contents = contents_of(path)
            now = {key.item for key in contents.results}
            assert done <= now, "an answer was lost"
            asked_now = runs.received()
            again = {item for item in done if asked_now[item] > asked_before.get(item, 0)}
            assert not again, "an answered item was requested again"
            done = now
        assert runs.finish(results) == ("pass", undisturbed)
        asked = {item: count - base.get(item, 0) for item, count in runs.received().items()}
        unanswered = asked.pop("sum-9")
        assert len(asked) == ITEMS - 1
        assert sum(asked.values()) - len(asked) <= CONCURRENCY * of_folder
        assert unanswered <= of_folder + 1
        # with nothing left to request but what failed, the point is scored again and passes
        before = runs.received()
        assert runs.finish(results) == ("pass", undisturbed)
        assert {item for item, count in runs.received().items() if count != before[item]} <= {"sum-9"}


def test_a_second_process_is_refused_while_the_first_one_runs(runs, tmp_path):
    results = tmp_path / "results"
    (results / "points" / POINT).mkdir(parents=True)
    with open_checkpoint(results / "points" / POINT / "checkpoint.jsonl"):
        process = runs.start(results)
        _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "another process is writing this checkpoint" in err


def test_a_changed_prompt_is_refused_with_the_fields_that_differ(runs, tmp_path):
    results = tmp_path / "results"
    runs.finish(results)
    suite = tmp_path / "bench/tiny.yaml"
    suite.write_text(suite.read_text().replace("count: 2", "count: 1"))
    process = runs.start(results)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the checkpoint cannot be resumed, because its answers were generated otherwise" in err
    assert "few_shots was" in err
    assert "prompts was" in err


def test_another_scorer_scores_the_answers_again_without_a_request(runs, tmp_path):
    results = tmp_path / "results"
    runs.finish(results)
    suite, before = tmp_path / "bench/tiny.yaml", runs.received()
    suite.write_text(suite.read_text() + "    scorers: [numeric]\n")
    outcome, measured = runs.finish(results)
    assert outcome == "pass"
    assert list(measured["scorings"]) == ["numeric_match,last-anchored"]
    after = runs.received()
    assert {item for item, count in after.items() if count != before[item]} <= {"sum-9"}


def test_repeats_can_be_added(runs, tmp_path):
    results = tmp_path / "results"
    runs.finish(results)
    suite, before = tmp_path / "bench/tiny.yaml", runs.received()
    suite.write_text(suite.read_text() + "    repeats: 2\n")
    outcome, measured = runs.finish(results)
    assert (outcome, measured["total"], measured["completed"]) == ("pass", 2 * ITEMS, 2 * ITEMS - 2)
    after = runs.received()
    assert {after[item] - before[item] for item in before if item != "sum-9"} == {1}


def test_a_full_disk_ends_the_session_and_keeps_what_was_written(runs, tmp_path):
    outcome, undisturbed = runs.finish(tmp_path / "undisturbed")
    results = tmp_path / "full"
    process = runs.start(results, limit_bytes=80_000)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "checkpoint.jsonl: cannot be written" in err
    assert "then resume this session" in err
    kept = len(contents_of(results / "points" / POINT / "checkpoint.jsonl").results)
    assert 0 < kept < ITEMS - 1
    before = sum(runs.received().values())
    assert runs.finish(results) == (outcome, undisturbed)
    assert sum(runs.received().values()) - before <= ITEMS - kept
