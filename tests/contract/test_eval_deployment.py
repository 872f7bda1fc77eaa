"""Evals with a deployment of their own: started for them, proven in the evidence, and verified with it."""

from __future__ import annotations

import json
import subprocess
import sys

from eval_folder import make_eval

PERF = """
  deployment: {simulator: {ttft_ms: 30}, endpoint: simulator}
perf:
  steady:
    dataset: prompts
    load: {pattern: concurrency, concurrency: 1, requests: 3}
    budget: {vacancy: 1, vacancy_p99: 1}
"""
EVAL, STEADY = "tiny/eval/sums/c0001", "tiny/perf/steady"


def make(folder):
    test = (folder.root / "bench/test_perf.py").read_text()
    make_eval(folder, body=PERF)
    folder.write("bench/test_perf.py", test)
    folder.edit("bench/tiny.yaml", "{concurrency: [1, 2, 4]}", "{concurrency: [1]}")
    columns = "  prompts: {path: data/sums.jsonl, columns: {prompt: question}}\n"
    folder.edit("bench/tiny.yaml", "datasets:\n", f"datasets:\n{columns}")


def logged(ran, deployment):
    """Requests that the simulator of a deployment answered, besides those that ask whether it is ready."""
    lines = (ran.results / "deployments" / deployment / "simulator.jsonl").read_text().splitlines()
    return [line for line in lines if "request_id" in line]


def test_evals_run_on_a_deployment_of_their_own(folder, workers):
    make(folder)
    ran = folder.run("--endpoint=simulator", workers)
    assert (ran.status, ran.outcomes) == (0, {EVAL: "pass", STEADY: "pass"}), ran.output
    assert len(logged(ran, "tiny.eval")) == 8
    assert len(logged(ran, "tiny")) == 3
    point = json.loads((ran.results / "points" / EVAL / "point.json").read_text())
    assert point["point"]["deployment"] == "tiny.eval"
    plan = json.loads((ran.results / "plan.json").read_text())["plan"]
    assert plan["deployments"]["tiny.eval"]["overridden"] == ["endpoint", "simulator"]
    entry = "from pytest_bench.cli import main; raise SystemExit(main())"
    for arguments in (["verify", str(ran.results)], ["plan", "bench", "--endpoint=simulator"]):
        done = subprocess.run(
            [sys.executable, "-c", entry, *arguments],
            cwd=folder.root,
            env=folder.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["plan_digest"] == ran.verdict["plan_digest"]


def test_one_endpoint_for_evals_and_other_points_is_refused_if_they_need_two(folder):
    make(folder)
    folder.edit("bench/tiny.yaml", "endpoint: simulator}", "endpoint: 'http://127.0.0.1:1'}")
    ran = folder.run(f"--endpoint={folder.endpoint}")
    assert ran.status == 4
    assert "the evals of suite 'tiny' override endpoint, and --endpoint names one server" in ran.output
    ran = folder.run(f"--endpoint={folder.endpoint}", "-k", "steady")
    assert (ran.status, ran.outcomes[STEADY]) == (0, "pass"), ran.output
