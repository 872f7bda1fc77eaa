"""Time of a session before its first request and after its last response."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks.clients import IMPORTS, fresh_folder
from benchmarks.figures import Table
from benchmarks.process import BENCH, run
from benchmarks.server import Server

SUITE = """\
suite: fixed-cost
deployment:
  api: openai-chat
  model: mock
  generation: {max_tokens: 128}
datasets:
  prompts: {path: prompts.jsonl, columns: {prompt: prompt}}
perf:
  short:
    dataset: prompts
    load: {pattern: concurrency, concurrency: 4, requests: 64}
    budget: {achieved_share: 0.5, cpu_share: 1.0}   # the server answers at once: the client is the bottleneck
"""
ROWS = 256


def cost(table: Table) -> None:
    """One repetition: a whole pytest session of one point, without a tokenizer, on a running endpoint."""
    work = "one pytest session of one point"
    with fresh_folder() as folder, Server(folder) as server:
        _write_suite(folder)
        options = [f"--endpoint={server.url}", f"--results={folder / 'results'}", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "suites", *options]
        spent = run(command, folder=folder, environment=IMPORTS)
        stamps = server.stop()
    first_s = (int(stamps["arrival_ns"].min()) - spent.started_ns) / 1e9
    last_s = (spent.ended_ns - int(stamps["last_ns"].max())) / 1e9
    table.add(work, "from start to first request", "s", first_s, "<= 1.5")
    table.add(work, "from last response to exit", "s", last_s, "<= 1.5")


def _write_suite(folder: Path) -> None:
    suites = folder / "suites"
    suites.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n")
    (suites / "fixed.yaml").write_text(SUITE)
    rows = (json.dumps({"prompt": f"prompt {number}:" + " word" * 20}) for number in range(ROWS))
    (suites / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    shutil.copy(BENCH.parent / "suites" / "test_perf.py", suites)
