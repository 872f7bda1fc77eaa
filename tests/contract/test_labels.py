"""Results of the simulator are labelled as such, however it was reached."""

import json
import shutil
import subprocess
import sys

from pytest_bench import simulator
from pytest_bench.cli import main


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
    summary = json.loads((tmp_path / "results/points/chat/perf/steady/c0001/summary.json").read_text())
    assert summary["identities"][0]["server"] == "pytest-bench-simulator"
    assert summary["identities"][0]["served_models"] == ["my-model"]
