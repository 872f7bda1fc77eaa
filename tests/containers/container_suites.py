"""Suites whose deployments are containers, and calls that run them."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

SUITE = """
suite: {suite}
deployment:
  api: openai-chat
  model: simulated
  generation: {{max_tokens: 4}}
  container:
    image: {image}
    entrypoint: [python3, -m, pytest_bench.simulator, --host, "{host}", --port, "{port}"]
    arguments: [--itl-ms, "1"]
    environment: {{EVAL_CONC: "8 16", KEY: {{from_env: OUR_KEY}}}}
    forward: [preset:evals]
    network: {network}
    port: {port}
    stop_timeout_s: 0.1
    artifacts: [/etc/pass*]
    log: {{budget: {{lines_per_request: 100}}}}
datasets:
  made: {{synthetic: {{rows: 50, input_tokens: 5}}}}
perf:
  point:
    dataset: made
    load: {load}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
"""
LATER = """
  later:
    dataset: made
    load: {load}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
"""
ROLES = """
suite: {suite}
deployment:
  api: openai-chat
  model: simulated
  generation: {{max_tokens: 4}}
  containers:
    prefill:
      image: {image}
      entrypoint: &simulator [python3, -m, pytest_bench.simulator, --host, 0.0.0.0, --port, "8000"]
      port: 8000
      arguments: [--max-concurrency, "4"]
      stop_timeout_s: 0.1
      artifacts: [/etc/group]
    decode:
      image: {image}
      entrypoint: [sh, -c, {launcher}]
      environment: {{PREFILL_TP: "4", DECODE_TP: "8"}}
      port: 8000
      arguments: [--max-concurrency, "8"]
      stop_timeout_s: 0.1
      artifacts: [/etc/group]
    proxy:
      image: {image}
      entrypoint: *simulator
      port: 8000
      serves: true
      stop_timeout_s: 0.1
      log: {{budget: {{lines_per_request: 100}}}}
    client:
      image: {image}
      entrypoint: [sh, -c, exit 3]
      critical: false
datasets:
  made: {{synthetic: {{rows: 50, input_tokens: 5}}}}
perf:
  point:
    dataset: made
    load: {load}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
"""
LAUNCHER = "exec python3 -m pytest_bench.simulator --host 0.0.0.0 --port 8000 --max-concurrency $DECODE_TP"
ROLE_NAMES = ("prefill", "decode", "proxy", "client")
SHORT = "{pattern: concurrency, concurrency: 2, requests: 6}"
ENDLESS = "{pattern: poisson, rate: 20, duration_s: 600}"

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load, container):
    assert container.url.startswith("http://127.0.0.1:")
    run_load().require()
"""


def write(folder, suite, image, load, network="bridge"):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    host, port = ("0.0.0.0", 8000) if network == "bridge" else ("127.0.0.1", port)
    (folder / "suites").mkdir(exist_ok=True)
    (folder / "suites" / "test_perf.py").write_text(TEST)
    later = LATER if load == SHORT else ""
    text = (SUITE + later).format(suite=suite, image=image, load=load, network=network, host=host, port=port)
    (folder / "suites" / f"{suite}.yaml").write_text(text)


def write_roles(folder, suite, image, load, launcher=LAUNCHER):
    (folder / "suites").mkdir(exist_ok=True)
    (folder / "suites" / "test_perf.py").write_text(TEST)
    text = ROLES.format(suite=suite, image=image, load=load, launcher=json.dumps(launcher))
    (folder / "suites" / f"{suite}.yaml").write_text(text)


def command(folder, *words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return {
        "args": [Path(sys.executable).with_name(words[0]), *words[1:]],
        "cwd": folder,
        "env": environ
        | {"PYTEST_BENCH_LEASES": str(folder / "leases"), "OUR_KEY": "sk-secret", "MODEL": "m"},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
    }


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.05)
