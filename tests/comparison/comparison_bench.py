"""A folder with a suite to compare sessions of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pytest_bench.simulator import Behaviour, start

SUITE = """
suite: load
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${ENDPOINT:-}
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
  steady:
    dataset: prompts
    load: {pattern: concurrency, concurrency: CONCURRENCY, requests: REQUESTS}
    budget: {achieved_share: 0.01, vacancy: 1, vacancy_p99: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    bounds: {request_latency.p99: "<= BOUND"}
"""

WHOLE = """
suite: whole
deployment:
  api: openai-chat
  model: simulated
  endpoint: ${ENDPOINT:-}
  generation: {stream: false}
datasets:
  prompts: {path: data/prompts.jsonl}
perf:
  answers:
    dataset: prompts
    load: {pattern: concurrency, concurrency: 1, requests: 4}
    budget: {achieved_share: 0.01, vacancy: 1, vacancy_p99: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    bounds: {request_latency.p99: "<= 60s"}
"""
"""Its answers are not streamed, so they have no time to first token."""

SUMS = """
suite: sums
deployment:
  api: openai-completions
  model: simulated
  endpoint: simulator
  simulator: {answers: data/answers.jsonl, ttft_ms: 1, itl_ms: 0.1}
datasets: {sums: {path: data/sums.jsonl}}
eval:
  sums:
    preset: gsm8k
    dataset: sums
    id_column: id
    generation: {max_tokens: 64, stream: false}
    sweep: {concurrency: [2]}
    budget: {vacancy: 1}
"""

TEST = """
import pytest


@pytest.mark.points("{0}")
def test_{0}(run_load):
    run_load().require()
"""

POINT = "load/perf/steady"
RUN = (sys.executable, "-c", "from pytest_bench.cli import main; raise SystemExit(main())")


@dataclass(frozen=True)
class Bench:
    """A folder with a suite, and the environment in which it is run."""

    root: Path

    def write(self, *, concurrency=8, requests=400, bound="60s", rows=450, whole=False):
        """`whole`: also a suite whose answers are not streamed."""
        suite = SUITE.replace("CONCURRENCY", str(concurrency)).replace("REQUESTS", str(requests))
        data = self.root / "bench" / "data"
        data.mkdir(parents=True, exist_ok=True)
        (self.root / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n"
        )
        (self.root / "bench" / "load.yaml").write_text(suite.replace("BOUND", bound))
        (self.root / "bench" / "whole.yaml").unlink(missing_ok=True)
        if whole:
            (self.root / "bench" / "whole.yaml").write_text(WHOLE)
        (self.root / "bench" / "test_perf.py").write_text(TEST.format("perf"))
        prompts = (json.dumps({"prompt": f"Tell me about number {number}."}) for number in range(rows))
        (data / "prompts.jsonl").write_text("\n".join(prompts))

    def write_eval(self, answers):
        data = self.root / "bench" / "data"
        data.mkdir(parents=True, exist_ok=True)
        (self.root / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n"
        )
        (self.root / "bench" / "sums.yaml").write_text(SUMS)
        (self.root / "bench" / "test_eval.py").write_text(TEST.format("eval"))
        rows = [
            {"id": f"sum-{number}", "question": f"What is twice {number}?", "answer": f"#### {2 * number}"}
            for number in range(len(answers))
        ]
        given = [
            {"item": row["id"], "prompt": row["question"], "content": f"#### {answer}"}
            for row, answer in zip(rows, answers, strict=True)
        ]
        for name, lines in (("sums", rows), ("answers", given)):
            (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    @property
    def environment(self):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "GITHUB_"))}
        return kept | {"PYTEST_BENCH_LEASES": str(self.root / "leases")}

    def call(self, *words, **options):
        """Start `pytest-bench` with these words."""
        return subprocess.Popen(
            [*RUN, *map(str, words)],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def run(self, results, *words, status=0):
        """Run a session; its folder."""
        process = self.call("run", "bench", f"--results={results}", *words)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == status, output
        return self.root / results


def served(stack, ttft_ms):
    return stack.enter_context(start(Behaviour(ttft_ms=ttft_ms, itl_ms=0.1, output_tokens=2))).url
