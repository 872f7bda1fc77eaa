"""A third party's audit is added by a hook, as described in the how-to page."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pytest_bench.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-audit.md"


def test_the_audit_of_the_how_to_page_runs_from_a_conftest(folder, tmp_path, workers):
    shutil.rmtree(tmp_path / "bench")
    (code,) = re.findall(r"```python\n(# conftest.py.*?)```", PAGE.read_text(), re.DOTALL)
    main(["init", str(tmp_path / "bench")])
    (tmp_path / "bench" / "conftest.py").write_text(code)
    suite = tmp_path / "bench" / "chat.yaml"
    patient = "budget: {vacancy: 1, achieved_share: 0.01}"
    declared = f"  warm: {{test: warm-latency, of: steady/c0008, requests: 16, slowdown: 50, {patient}}}\n"
    fast = "deployment:\n  simulator: {ttft_ms: 1, itl_ms: 0.1}\n"
    suite.write_text(suite.read_text().replace("deployment:\n", fast) + declared)
    command = [sys.executable, "-m", "pytest", "bench", "--endpoint=simulator", "--results=results", workers]
    done = subprocess.run(
        [*command, "-k", "warm"],
        cwd=tmp_path,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    folder = tmp_path / "results/points/chat/audit/warm"
    assert json.loads((folder / "audit_warm_latency_test.json").read_text())["passed"] is True
    assert (folder / "verify_WARM_LATENCY_TEST.txt").read_text() == "TEST PASS\n"
