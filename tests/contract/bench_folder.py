"""A folder of suites that a test may change, and pytest runs on it as a user would start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from pytest_bench.leases import Lease
from pytest_bench.results.event_log import nonce_of, read_logs
from pytest_bench.verdict.events import Event
from pytest_bench.verdict.leases import latest

INI = """
[pytest]
required_plugins = pytest-inference-bench
addopts = -p no:cacheprovider -p no:hypothesispytest -p no:anyio
"""

SUITE = """
suite: tiny
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${ENDPOINT:-}
  simulator: {ttft_ms: 1, itl_ms: 0.1, output_tokens: 2}
  ready_timeout_s: 5
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
"""

POINT = """
  %s:
    dataset: prompts
    load: {pattern: concurrency, concurrency: 1, requests: 2}
    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    timeouts: {request_s: 10}
    bounds: {request_latency.p99: "<= 60s"}
"""

TEST_PERF = """
import pytest


@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""

ONE, TWO = "tiny/perf/one", "tiny/perf/two"


@dataclass(frozen=True)
class Ran:
    """What one call of pytest left behind."""

    status: int
    """Exit status."""
    verdict: dict | None
    """Content of `verdict.json`, or None if it does not exist."""
    junit: dict[str, str] | None
    """Outcome of each case by class name and name: pass, failure, error or skipped; None without a file."""
    junit_text: str
    output: str
    """Standard output and error."""
    results: Path

    @property
    def outcomes(self) -> dict[str, str]:
        return {point["id"]: point["outcome"] for point in self.verdict["points"]}

    def reasons(self, point: str) -> list[str]:
        """Codes of the reasons of a point."""
        (found,) = [item for item in self.verdict["points"] if item["id"] == point]
        return [reason["code"] for reason in found["reasons"]]

    @property
    def faults(self) -> list[str]:
        return [fault["code"] for fault in self.verdict["faults"]]

    def require(self, status: int, verdict: str, **outcomes: str) -> None:
        """Exit status, verdict and JUnit file, each on its own; `outcomes` by name of the point."""
        told = self.output
        assert self.status == status, told
        assert self.verdict is not None, told
        assert self.verdict["status"] == verdict, told
        expected = {f"tiny/perf/{name}": outcome for name, outcome in outcomes.items()}
        assert self.outcomes == expected, told
        cases = {f"tiny.perf::{name}": CASES[outcome] for name, outcome in expected.items()}
        if self.verdict["faults"]:
            cases["session::integrity"] = "error"
        points = {name: case for name, case in self.junit.items() if name.startswith(("tiny.", "session::"))}
        assert points == cases, self.junit_text
        assert (status == 0) == all(case == "pass" for case in self.junit.values()), self.junit_text


RUN = ("-c", "from pytest_bench.cli import main; raise SystemExit(main())", "run")
"""`pytest-bench run`, as words after the interpreter."""

CASES = {"pass": "pass", "fail": "failure", "inconclusive": "failure", "error": "error", "missing": "error"}
"""How JUnit says what a point came to."""


@dataclass
class BenchFolder:
    """`bench/` with a suite and its test file, and what it takes to run it."""

    root: Path
    endpoint: str
    runtime: Path
    """Folder for leases, so that tests do not wait for each other."""
    bytecode: Path
    """Where compiled modules lie, shared by all calls: compiling is most of what a short call does."""
    points: tuple[str, ...] = ("one", "two")
    environ: dict[str, str] = field(default_factory=dict)
    _runs: int = 0

    def __post_init__(self) -> None:
        self.write("pytest.ini", INI)
        self.write("bench/tiny.yaml", SUITE + "".join(POINT % name for name in self.points))
        self.write("bench/test_perf.py", TEST_PERF)
        rows = (json.dumps({"prompt": f"Tell me about number {number}."}) for number in range(40))
        self.write("bench/data/prompts.jsonl", "\n".join(rows))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the folder; `text` is dedented."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace `old`, which must be there."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text, text
        (self.root / name).write_text(text.replace(old, new), encoding="utf-8")

    def environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("PYTEST_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        own = {
            "ENDPOINT": self.endpoint,
            "PYTEST_BENCH_LEASES": str(self.runtime),
            "PYTHONPYCACHEPREFIX": str(self.bytecode),
            "COLUMNS": "200",
        }
        return {**kept, **own, **self.environ}

    def command(self, *args: str, results: Path | None, judged: bool = False) -> list[str]:
        where = () if results is None else ("--results", str(results))
        named = any((self.root / arg.partition("::")[0]).exists() for arg in args)
        asked = args if named else ("bench", *args)
        return [sys.executable, *(RUN if judged else ("-m", "pytest")), *asked, *where]

    def start(
        self, *args: str, results: Path, judged: bool = False, environ: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start pytest on the folder, in a process group of its own. Its output is a pipe, standard error included."""
        return subprocess.Popen(
            self.command(*args, results=results, judged=judged),
            cwd=self.root,
            env=self.environment() | (environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def terminate_when(self, ready: Callable[[], bool], *args: str, results: Path) -> tuple[int, str]:
        """Start pytest, and end it with SIGTERM when `ready`. Returns its exit status and output."""
        session = self.start(*args, results=results)
        try:
            deadline = time.monotonic() + 300
            while not ready():
                assert session.poll() is None, session.communicate()[0]
                assert time.monotonic() < deadline, "it was not ready in time"
                time.sleep(0.05)
            session.send_signal(signal.SIGTERM)
            output = session.communicate(timeout=300)[0]
        finally:
            session.kill()
            session.wait()
        return session.returncode, output

    def run(
        self,
        *args: str,
        results: str | None = "",
        python: tuple[str, ...] = (),
        prefix: tuple[str, ...] = (),
        judged: bool = False,
    ) -> Ran:
        """Run pytest on the folder; `judged`: by `pytest-bench run`.

        `results` names the results folder; None leaves the option out.
        """
        self._runs += 1
        named = None if results is None else self.root / (results or f"results-{self._runs}")
        command = self.command(*args, results=named, judged=judged)
        command[1:1] = python
        done = subprocess.run(
            [*prefix, *command],
            cwd=self.root,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return self.read(
            done.returncode, done.stdout + done.stderr, named or self.root / "results" / "latest", args
        )

    def read(self, status: int, output: str, results: Path, args: tuple[str, ...] = ()) -> Ran:
        """What a call that has ended left in its results folder."""
        named = [arg.partition("=")[2] for arg in args if arg.startswith("--junitxml=")]
        junit = self.root / named[0] if named else results / "junit.xml"
        verdict = results / "verdict.json"
        return Ran(
            status=status,
            verdict=json.loads(verdict.read_text()) if verdict.is_file() else None,
            junit=read_junit(junit) if junit.is_file() else None,
            junit_text=junit.read_text() if junit.is_file() else "",
            output=output,
            results=results,
        )


def read_junit(path: Path) -> dict[str, str]:
    """Outcome of each case; the file's own counts must agree with its cases."""
    suite = ET.parse(path).getroot().find("testsuite")
    outcomes: dict[str, str] = {}
    for case in suite.findall("testcase"):
        tags = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        assert len(tags) <= 1, ET.tostring(case)
        name = f"{case.get('classname')}::{case.get('name')}"
        assert name not in outcomes, name
        outcomes[name] = tags[0] if tags else "pass"
    counted = [list(outcomes.values()).count(tag) for tag in ("failure", "error", "skipped")]
    assert [int(suite.get(name)) for name in ("failures", "errors", "skipped")] == counted
    assert int(suite.get("tests")) == len(outcomes)
    return outcomes


def events_in(results: Path, process: str) -> list[Event]:
    """The events of one process of a session."""
    return read_logs(results, nonce_of(results)).get(process, [])


def leases_in(results: Path) -> list[Lease]:
    """Every lease that a session took."""
    logs = read_logs(results, nonce_of(results))
    return latest(event for log in logs.values() for event in log if isinstance(event, Lease))
