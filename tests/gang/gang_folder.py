"""A suite whose deployment runs on two nodes, and pytest started on it in a Slurm allocation as a user starts it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from allocated_session import start_allocated

SUITE = """
suite: disaggregated
deployment:
  api: openai-chat
  model: simulated
  generation: {{max_tokens: 4}}
  ready_timeout_s: 60
  nodes: {nodes}
  containers:
    proxy:
      image: &image {image}
      build: {build}
      image_cache: {cache}
      entrypoint: [python3, -S, /opt/proxy.py]
      arguments: ["8000", "{{address.prefill}}:8001", "{{address.decode}}:8000"]
      mounts: [{{source: proxy.py, target: /opt/proxy.py, read_only: true}}]
      network: host
      port: 8000
      serves: true
      stop_timeout_s: 0.1
      log: {{budget: {{lines_per_request: 2}}}}
    prefill:
      image: *image
      build: {build}
      image_cache: {cache}
      entrypoint: [python3, -m, pytest_bench.simulator, --host, 0.0.0.0, --port, "8001"]
      arguments: [--max-concurrency, "4"]
      environment: {{DECODE: "http://{{address.decode}}:8000", KEY: {{from_env: OUR_KEY}}}}
      network: host
      port: 8001
      stop_timeout_s: 0.1
    decode:
      rank: 1
      image: *image
      build: {build}
      image_cache: {cache}
      entrypoint: [sh, -c, {launcher}]
      environment: {{PREFILL_TP: "4", DECODE_TP: "8"}}
      arguments: [--max-concurrency, "8"]
      network: host
      port: 8000
      stop_timeout_s: 0.1
      artifacts: [/etc/group]
datasets:
  made: {{synthetic: {{rows: 50, input_tokens: 5}}}}
perf:
  point:
    dataset: made
    load: {load}
    budget: {{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}}
"""
LAUNCHER = "exec python3 -m pytest_bench.simulator --host 0.0.0.0 --port 8000 --max-concurrency $DECODE_TP"
SHORT = "{pattern: concurrency, concurrency: 2, requests: 6}"
ENDLESS = "{pattern: poisson, rate: 5, duration_s: 600}"

TEST = """
import pytest


@pytest.mark.points("perf")
def test_perf(run_load, containers):
    assert list(containers) == ["proxy", "prefill", "decode"]
    run_load().require()
"""
INI = "[pytest]\nrequired_plugins = pytest-inference-bench\naddopts = -p no:cacheprovider -p no:hypothesispytest\n"


@dataclass(frozen=True)
class Ran:
    """What one call left behind."""

    status: int
    output: str
    results: Path

    @property
    def deployment(self) -> Path:
        return self.results / "deployments/disaggregated"

    @property
    def verdict(self) -> dict:
        return json.loads((self.results / "verdict.json").read_text())

    @property
    def outcome(self) -> str:
        (point,) = self.verdict["points"]
        return point["outcome"]

    @property
    def reasons(self) -> str:
        (point,) = self.verdict["points"]
        return " ".join(f"{reason['code']}: {reason['sentence']}" for reason in point["reasons"])

    def status_of(self, rank: int) -> dict:
        return json.loads((self.deployment / f"rank-{rank}/status.json").read_text())

    def container(self, rank: int, role: str) -> dict:
        return json.loads((self.deployment / f"rank-{rank}" / role / "container.json").read_text())


@dataclass
class GangFolder:
    root: Path
    image: str
    build: str = "null"
    cache: str = "null"
    launcher: str = LAUNCHER
    load: str = SHORT
    nodes: str = "{count: 2}"
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        return self.root / "results/session"

    def write(self) -> None:
        (self.root / "suites").mkdir(exist_ok=True)
        text = SUITE.format(
            image=self.image,
            build=self.build,
            cache=self.cache,
            launcher=json.dumps(self.launcher),
            load=self.load,
            nodes=self.nodes,
        )
        (self.root / "suites/disaggregated.yaml").write_text(text)
        (self.root / "suites/test_perf.py").write_text(TEST)
        (self.root / "pytest.ini").write_text(INI)
        shutil.copy(Path(__file__).with_name("disaggregation_proxy.py"), self.root / "suites/proxy.py")

    def start(self, *args: str, nodes: str = "n0,n1") -> subprocess.Popen:
        """Start `pytest-bench run` in an allocation of these nodes."""
        self.write()
        program = "from pytest_bench.cli import main; raise SystemExit(main())"
        command = [
            *[sys.executable, "-c", program, "run", "suites", "--slurm", *args],
            *["--results", str(self.results)],
        ]
        environ = {"OUR_KEY": "sk-secret", **self.environ}
        return start_allocated(nodes, command, cwd=self.root, leases=self.root / "leases", environ=environ)

    def end(self, running: subprocess.Popen) -> Ran:
        output, _ = running.communicate(timeout=300)
        return Ran(running.returncode, output, self.results)

    def run(self, *args: str, nodes: str = "n0,n1") -> Ran:
        return self.end(self.start(*args, nodes=nodes))

    def processes(self) -> dict[int, list[bytes]]:
        """Processes with the environment of this folder's session, on any node."""
        mark = f"PYTEST_BENCH_LEASES={self.root}/leases".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if mark in (path / "environ").read_bytes():
                    found[int(path.name)] = (path / "cmdline").read_bytes().split(b"\0")
        return found

    def agents(self) -> dict[str, int]:
        """Process id of each agent, by node."""
        found = {}
        for pid, words in self.processes().items():
            if b"pytest_bench.gang.agent" in words and b"srun" not in words[0]:
                with contextlib.suppress(OSError):
                    entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                    found |= {
                        entry.partition(b"=")[2].decode(): pid
                        for entry in entries
                        if entry.startswith(b"SLURMD_NODENAME=")
                    }
        return found


def until(condition, running: subprocess.Popen | None = None, seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        if running is not None and running.poll() is not None:
            output = running.communicate()[0]
            raise AssertionError(f"ended before it happened:\n{output}")
        assert time.monotonic() < limit, "did not happen in time"
        time.sleep(0.05)
