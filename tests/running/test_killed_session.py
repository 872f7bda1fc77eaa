"""pytest itself is killed in the middle of a phase: no process and no temporary file outlives it."""

import os
import subprocess
import sys
import time
from pathlib import Path

SUITE = """
suite: endless
deployment:
  api: openai-chat
  model: simulated
  simulator: {ttft_ms: 5, itl_ms: 1}
  metrics_interval_s: 0.1
datasets:
  made: {synthetic: {rows: 50, input_tokens: 5}}
perf:
  point:
    dataset: made
    load: {pattern: poisson, rate: 50, duration_s: 60}
    workers: 2
"""

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""


def descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.01)


def test_nothing_outlives_a_session_that_is_killed(tmp_path):
    for name in ("suites", "tmp", "runtime"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "suites/endless.yaml").write_text(SUITE)
    (tmp_path / "suites/test_perf.py").write_text(TEST)
    session = subprocess.Popen(
        [sys.executable, "-m", "pytest", "suites", "--endpoint=simulator", "--results=results"],
        cwd=tmp_path,
        env=os.environ
        | {"TMPDIR": str(tmp_path / "tmp"), "PYTEST_BENCH_LEASES": str(tmp_path / "runtime" / "leases")},
        stdout=subprocess.DEVNULL,
    )
    phase = tmp_path / "results/points/endless/perf/point/phases/measured"
    try:
        # Two batches of records, and a reading of the server's metrics, have been written.
        until(lambda: phase.is_dir() and all(log.stat().st_size > 2000 for log in phase.glob("*.jsonl")))
        until(lambda: len(list(phase.glob("requests.*.jsonl"))) == 2)
        started = descendants(session.pid)
        assert len(started) >= 3
    finally:
        session.kill()
        session.wait()
    until(lambda: not any(map(alive, started)))
    assert list((tmp_path / "tmp").iterdir()) == []
