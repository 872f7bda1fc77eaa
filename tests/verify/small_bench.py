"""A folder of small suites on the simulator, and sessions of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

SUITE = """
suite: small
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${ENDPOINT:-}
  simulator: {ttft_ms: 60, itl_ms: 0.1, output_tokens: 4}
  metrics_path: null
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
  steady:
    dataset: prompts
    load: {pattern: concurrency, requests: 8}
    sweep: {concurrency: [1, 2]}
    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    bounds: {request_latency.p99: "<= 60s"}
audit:
  caching:
    test: output-caching
    dataset: prompts
    load: {pattern: concurrency, concurrency: 2, requests: 6}
    threshold: 0.99
    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
"""

TEST = """
import pytest


@pytest.mark.points({kind!r})
def test_{kind}(run_load):
    run_load().require()
"""


def bench_folder(root):
    """A folder of suites, with an expectation of all their points."""
    data = root / "bench" / "data"
    data.mkdir(parents=True)
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
    (root / "bench" / "small.yaml").write_text(SUITE)
    for kind in ("perf", "audit"):
        (root / "bench" / f"test_{kind}.py").write_text(TEST.format(kind=kind))
    rows = (json.dumps({"prompt": f"Tell me about number {number}."}) for number in range(40))
    (data / "prompts.jsonl").write_text("\n".join(rows))
    return root


def run_pytest(root, *args, results, status=0):
    command = [sys.executable, "-m", "pytest", "bench", "--endpoint=simulator", f"--results={results}", *args]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        command,
        cwd=root,
        env={**environ, "PYTEST_BENCH_LEASES": str(root / "leases")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return root / results
