"""Results of the simulator are labelled, for every way to reach it."""

import json
import os
import shutil
import subprocess
import sys

from pytest_bench import simulator
from pytest_bench.cli import main


def test_more_load_workers_than_cpus_are_remarked_on_and_on_record(folder):
    many = len(os.sched_getaffinity(0)) + 1
    folder.edit("bench/tiny.yaml", "requests: 2}", f"requests: 2}}\n    workers: {many}")
    ran = folder.run("-n0", "-k", "one")
    ran.require(0, "pass", one="pass")
    told = [line for line in ran.output.splitlines() if f"{many} load workers share" in line]
    assert len(told) == 2, "before its load, and at the end"
    summary = json.loads((ran.results / "points/tiny/perf/one/summary.json").read_text())
    assert f"tiny/perf/one: {summary['detail']['note']}" == told[-1]
    assert main(["verify", str(ran.results), "--allow-partial"]) == 0


def test_a_simulator_that_is_reached_by_its_url_is_labelled_and_red_under_complete(folder, tmp_path):
    shutil.rmtree(tmp_path / "bench")
    main(["init", str(tmp_path / "bench")])
    with simulator.start(simulator.Behaviour(model="my-model", ttft_ms=1, itl_ms=0)) as running:
        command = [sys.executable, "-m", "pytest", "bench", f"--endpoint={running.url}", "--complete"]
        done = subprocess.run(
            [*command, "--results=results"],
            cwd=tmp_path,
            env=folder.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    verdict = json.loads((tmp_path / "results" / "verdict.json").read_text())
    assert (done.returncode, verdict["status"]) == (1, "error")
    assert all("simulator" in point["labels"] for point in verdict["points"])
    sentences = {reason["sentence"] for point in verdict["points"] for reason in point["reasons"]}
    (advice,) = [sentence for sentence in sentences if "--endpoint=simulator" in sentence]
    assert "the endpoint is the built-in simulator" in advice
    assert "give --endpoint" not in advice, "it was given"
    summary = json.loads((tmp_path / "results/points/chat/perf/steady/c0001/summary.json").read_text())
    assert summary["identities"][0]["server"] == "pytest-bench-simulator"
    assert summary["identities"][0]["served_models"] == ["my-model"]
