"""A folder of suites, and pytest started on it inside a Slurm allocation as a user starts it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from allocated_session import start_allocated

from pytest_bench.results.event_log import nonce_of, read_logs

SUITE = """
suite: {name}
deployment:
  api: openai-chat
  model: simulated
  simulator: {{ttft_ms: 1, itl_ms: 0.1, output_tokens: 2}}
datasets:
  prompts: {{path: data/prompts.jsonl}}
perf:
  one: &point
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 1, requests: 2}}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
    timeouts: {{request_s: 10}}
    bounds: {{request_latency.p99: "<= 60s"}}
  two: *point
"""

INI = """
[pytest]
required_plugins = pytest-inference-bench
addopts = -p no:cacheprovider -p no:hypothesispytest
"""

TEST = """
import os
import signal
from pathlib import Path
import pytest


@pytest.mark.points("perf")
def test_perf(run_load, point, tmp_path):
    waits = Path(os.environ.get("WAIT_FOR", "/nowhere"))
    if point.id == "b/perf/one" and waits.exists():
        begun = waits / "begun"
        begun.with_suffix(".new").write_text(
            "{SLURMD_NODENAME} {SLURM_JOB_ID}.{SLURM_STEP_ID}".format_map(os.environ)
        )
        begun.with_suffix(".new").replace(begun)
        signal.pause()  # until the node is lost
    run_load().require()
"""


RUN = ("-c", "from pytest_bench.cli import main; raise SystemExit(main())", "run")
"""`pytest-bench run`, as words after the interpreter."""


@dataclass(frozen=True)
class Ran:
    """What one call left behind."""

    status: int
    output: str
    results: Path

    @property
    def verdict(self) -> dict:
        return json.loads((self.results / "verdict.json").read_text())

    @property
    def outcomes(self) -> dict[str, str]:
        return {point["id"]: point["outcome"] for point in self.verdict["points"]}

    def reasons(self, point: str) -> str:
        (found,) = [item for item in self.verdict["points"] if item["id"] == point]
        return " ".join(f"{reason['code']}: {reason['sentence']}" for reason in found["reasons"])

    @property
    def faults(self) -> str:
        return " ".join(fault["sentence"] for fault in self.verdict["faults"])

    @property
    def events(self) -> dict[str, list]:
        return read_logs(self.results, nonce_of(self.results))


def wait_until(condition, running: subprocess.Popen) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert running.poll() is None, "ended before it happened"
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.05)


@dataclass
class SlurmFolder:
    root: Path
    suites: tuple[str, ...] = ("a", "b", "c")
    environ: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    judged: bool = False
    """Whether `pytest-bench run` starts pytest."""

    def __post_init__(self) -> None:
        (self.root / "suites/data").mkdir(parents=True)
        for name in self.suites:
            (self.root / f"suites/{name}.yaml").write_text(SUITE.format(name=name))
        (self.root / "suites/test_perf.py").write_text(TEST)
        rows = (json.dumps({"prompt": f"Tell me about number {number}."}) for number in range(4))
        (self.root / "suites/data/prompts.jsonl").write_text("\n".join(rows))
        (self.root / "pytest.ini").write_text(INI)

    @property
    def results(self) -> Path:
        return self.root / "results/session"

    def start(self, *args: str, nodes: str = "n0,n1,n2", cwd: Path | None = None) -> subprocess.Popen:
        """Start pytest in an allocation of these nodes; without nodes, outside of any."""
        command = [
            *[self.python, *(RUN if self.judged else ("-m", "pytest"))],
            *["suites", "--endpoint=simulator", *args],
            *["--results", str(self.results)],
        ]
        return start_allocated(
            nodes, command, cwd=cwd or self.root, leases=self.root / "leases", environ=self.environ
        )

    def end(self, running: subprocess.Popen) -> Ran:
        output, _ = running.communicate(timeout=240)
        return Ran(running.returncode, output, self.results)

    def run(self, *args: str, nodes: str = "n0,n1,n2") -> Ran:
        return self.end(self.start(*args, nodes=nodes))
