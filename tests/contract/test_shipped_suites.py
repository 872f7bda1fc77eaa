"""The suites of this repository, run as the README says, on the simulator: exit status, verdict and JUnit file
say the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench_folder import Ran, read_junit

ROOT = Path(__file__).parents[2]
CHOSEN = "(quickstart and (c0008 or c0032)) or perf/offline or gsm8k/c0512"
CASES = {"pass": "pass", "fail": "failure", "inconclusive": "failure", "error": "error", "missing": "error"}


def test_exit_status_verdict_and_junit_agree(folder, tmp_path, workers):
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "suites", "--endpoint=simulator", workers,
            "-k", CHOSEN, "--results", str(tmp_path / "results"), "-p", "no:cacheprovider",
        ],
        cwd=ROOT,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )  # fmt: skip
    ran: Ran = folder.read(done.returncode, done.stdout, tmp_path / "results")
    assert ran.verdict is not None, done.stdout + done.stderr
    assert (ran.status == 0) == (ran.verdict["status"] == "pass")
    assert (ran.status == 0) == (set(ran.junit.values()) == {"pass"})
    assert ran.junit == {
        f"{'.'.join(name.split('/')[:2])}::{name}": CASES[outcome] for name, outcome in ran.outcomes.items()
    }
    assert ran.status == 0, done.stdout
    assert read_junit(ran.results / "junit.xml") == ran.junit
