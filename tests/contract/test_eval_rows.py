"""Evals end to end: from the suite to the verdict, on the simulator that answers from a file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from eval_folder import FLEXIBLE, ITEMS, POINTS, STRICT, make_eval, metrics, summary

from pytest_bench.checkpoints import read_checkpoint
from pytest_bench.lmeval import Request, Thresholds, verify_folder
from pytest_bench.verify import verify_session


def require(ran, status, outcome):
    assert ran.status == status, ran.output
    assert set(ran.outcomes.values()) == {outcome}, ran.output


def verify(folder, ran, *args):
    command = [sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())", "verify"]
    return subprocess.run(
        [*command, str(ran.results), *args],
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_eval_makes_one_scored_point_for_each_concurrency(folder, workers):
    make_eval(folder, answers={0: "Twice that.\n#### 99", 1: "I do not know."})
    ran = folder.run("--endpoint=simulator", workers)
    require(ran, 0, "pass")
    assert list(ran.outcomes) == list(POINTS)
    for point in POINTS:
        found = metrics(ran, point)
        assert found[STRICT] == found[FLEXIBLE] == 6 / 8
        assert (found["eval_requests"], found["completed_requests"]) == (ITEMS, ITEMS)
        assert found["extraction_failed_rate"] == 1 / 8
        contents = read_checkpoint(ran.results / "points" / point / "checkpoint.jsonl")
        assert (len(contents.results), contents.ended) == (ITEMS, True)
    assert "75.0% (40.9% to 92.9%)" in ran.output
    checked = verify(folder, ran)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_its_result_files_are_admitted_as_a_folder_of_lm_eval(folder):
    make_eval(folder)
    ran = folder.run("--endpoint=simulator")
    results = ran.results / "evals/tiny/sums"
    request = Request(concurrencies=(1, 2, 4), thresholds=Thresholds(default={"gsm8k": 0.9}))
    assert verify_folder(results, request).findings == ()
    meta = json.loads((results / "meta_env.json").read_text())
    assert (meta["completed_eval_concs"], meta["failed_eval_concs"], meta["eval_exit_code"]) == (
        [1, 2, 4],
        [],
        0,
    )


def test_a_selected_concurrency_leaves_the_others_failed_in_the_metadata(folder):
    make_eval(folder)
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    assert ran.status == 0, ran.output
    meta = json.loads((ran.results / "evals/tiny/sums/meta_env.json").read_text())
    assert (meta["completed_eval_concs"], meta["failed_eval_concs"], meta["eval_exit_code"]) == (
        [2],
        [1, 4],
        1,
    )


def test_never_more_requests_are_in_flight_than_the_concurrency(folder):
    make_eval(folder)
    ran = folder.run("--endpoint=simulator", "-k", "c0004")
    assert summary(ran, POINTS[2])["concurrency" if False else "detail"]["concurrency"]["peak"] == 4
    log = (ran.results / "deployments/tiny/simulator.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in log]
    requests = [record for record in records if record.get("kind") == "request" and record.get("request_id")]
    assert len(requests) == ITEMS
    assert max(record["in_flight"] for record in requests) == 4


@pytest.mark.parametrize(
    ("gate", "outcome"),
    [
        ("{metric: 'exact_match,strict-match', threshold: 0.75}", "pass"),
        ("{metric: 'exact_match,strict-match', threshold: 0.76}", "fail"),
        ("{metric: 'exact_match,strict-match', lower_bound: 0.3}", "pass"),
        ("{metric: 'exact_match,strict-match', lower_bound: 0.7}", "inconclusive"),
        ("{metric: 'exact_match,strict-match', lower_bound: 0.99}", "fail"),
    ],
)
def test_a_gate_decides_the_point(folder, gate, outcome):
    make_eval(folder, answers={0: "#### 99", 1: "#### 99"}, fields=f"gates: [{gate}]\n")
    ran = folder.run("--endpoint=simulator", "-k", "c0001")
    require(ran, 0 if outcome == "pass" else 1, outcome)
    assert "unbounded" not in ran.verdict["points"][0]["labels"]
    assert verify_session(ran.results).problems == ()


def test_a_failed_request_is_unscored_and_makes_the_point_an_error(folder):
    make_eval(folder, items=8)
    folder.edit("bench/tiny.yaml", "itl_ms: 0.1}", "itl_ms: 0.1, fault: {http_500: 0.5}}")
    ran = folder.run("--endpoint=simulator", "-k", "c0002")
    require(ran, 1, "error")
    assert "unscored" in ran.reasons(POINTS[1])
    assert summary(ran, POINTS[1])["measurement"]["metrics"][STRICT].get("value") is None
    assert verify_session(ran.results).problems == ()
