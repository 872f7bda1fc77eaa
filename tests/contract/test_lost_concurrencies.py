"""An eval of ten concurrencies that loses nine on the way is red wherever somebody looks, and the nine are named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from bench_folder import read_junit
from eval_folder import make_eval

CONCURRENCIES = tuple(range(1, 11))
KEPT, *LOST = (f"tiny/eval/sums/c{concurrency:04}" for concurrency in CONCURRENCIES)
SWEEP = f"sweep: {{concurrency: {list(CONCURRENCIES)}}}"


def command(folder, *args):
    return subprocess.run(
        [sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())", *args],
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def lost(folder):
    """A session whose launcher lost the variable with the concurrencies: it runs the first alone.

    What must run was written where the variable was still set.
    """
    make_eval(folder, items=10)
    folder.edit("bench/tiny.yaml", "sweep: {concurrency: [1, 2, 4]}", SWEEP)
    planned = command(
        folder, "plan", "bench", "--endpoint", "simulator", "--no-digests", "--output", "expectation.json"
    )
    assert planned.returncode == 0, planned.stderr
    folder.edit("bench/tiny.yaml", SWEEP, "sweep: {concurrency: [1]}")
    folder.edit("bench/tiny.yaml", "ttft_ms: 5", "ttft_ms: 30")
    return folder.run("--endpoint=simulator", "--expect=expectation.json")


def test_a_variable_lost_by_the_launcher_is_red_in_each_place_alone(folder, lost):
    assert lost.status == 1
    assert lost.verdict["status"] == "incomplete"
    missing = [point["id"] for point in lost.verdict["points"] if point["outcome"] == "missing"]
    assert missing == LOST
    assert lost.outcomes[KEPT] == "pass"
    cases = read_junit(lost.results / "junit.xml")
    assert cases == {f"tiny.eval::{KEPT}": "pass", **{f"tiny.eval::{name}": "error" for name in LOST}}
    for name in LOST:
        assert name in lost.output.replace("\n", "") or "more" in lost.output
    verified = command(folder, "verify", str(lost.results), "--expect", "expectation.json")
    assert verified.returncode == 1
    for name in LOST:
        assert f"{name}: missing" in verified.stderr
    asked = " ".join(map(str, CONCURRENCIES))
    results = lost.results / "evals/tiny/sums"
    judged = command(folder, "verify", str(results), "--expected-concs", asked, "--min-score", "0.5")
    assert judged.returncode == 1
    assert "2, 3, 4, 5, 6, 7, 8, 9, 10 requested, but not completed" in judged.stderr


def test_a_copy_that_lost_nine_of_ten_is_red_and_names_them(folder):
    make_eval(folder, items=10)
    folder.edit("bench/tiny.yaml", "sweep: {concurrency: [1, 2, 4]}", SWEEP)
    folder.edit("bench/tiny.yaml", "ttft_ms: 5", "ttft_ms: 30")
    ran = folder.run("--endpoint=simulator")
    assert ran.status == 0, ran.output
    copied = folder.root / "copied"
    shutil.copytree(ran.results, copied)
    for name in LOST:
        shutil.rmtree(copied / "points" / name)
    for path in (copied / "evals/tiny/sums").glob("*_conc*"):
        if "_conc1." not in path.name:
            path.unlink()
    verified = command(folder, "verify", str(copied))
    assert verified.returncode == 1
    for name in LOST:
        assert f"{name}: error" in verified.stderr
    asked = " ".join(map(str, CONCURRENCIES))
    judged = command(
        folder, "verify", str(copied / "evals/tiny/sums"), "--expected-concs", asked, "--min-score", "0.5"
    )
    assert judged.returncode == 1
    assert "no result file of concurrency 2, 3, 4, 5, 6, 7, 8, 9, 10, requested" in judged.stderr


def test_points_that_fail_on_the_way_are_failed_in_the_metadata(folder):
    """Each concurrency that cannot be completed is named in the file that collectors read."""
    make_eval(folder, answers={0: {"content": "#### 2", "fault": "http_500", "fault_requests": 1}})
    ran = folder.run("--endpoint=simulator")
    assert ran.status == 1
    meta = json.loads((ran.results / "evals/tiny/sums/meta_env.json").read_text())
    assert meta["eval_exit_code"] == 1
    assert (meta["completed_eval_concs"], meta["failed_eval_concs"]) == ([2, 4], [1])
