from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from points_in_process import session_of

from pytest_bench.api import BUILTIN
from pytest_bench.audits import Registry, registry
from pytest_bench.audits.point import run_audit
from pytest_bench.catalogue import vocabulary
from pytest_bench.simulator import read_truth
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.plan import Plan


@dataclasses.dataclass
class Auditor:
    """Plans a suite written as YAML, and runs its audits against a real server with the real engine."""

    folder: Path
    audits: Registry = dataclasses.field(default_factory=registry)
    planned: Plan | None = None

    def dataset(self, name="prompts", rows=40, **columns):
        """A JSONL dataset beside the suite; `columns` map a name to a function of the row's number."""
        columns = columns or {"prompt": lambda number: f"prompt {number} of {name}"}
        lines = [
            json.dumps({column: value(number) for column, value in columns.items()}) for number in range(rows)
        ]
        (self.folder / f"{name}.jsonl").write_text("\n".join(lines))

    def plan(self, text):
        suite = self.folder / "suite.yaml"
        suite.write_text(text)
        words = dataclasses.replace(vocabulary(BUILTIN), audits=self.audits.words())
        return load_plan([suite], words, Overrides(), {}, root=self.folder)

    @contextmanager
    def session(self, text):
        """Run audits of one suite on one deployment: yields a function from a point's name to what it came to."""
        self.planned = plan = self.plan(text)
        with session_of(plan, self.folder) as session:
            self.perf = session.perf
            yield lambda name: run_audit(
                session.facts,
                session.resources,
                plan.point(f"s/audit/{name}"),
                session.deployment,
                registry=self.audits,
            )

    def audit(self, text, name="a"):
        with self.session(text) as run:
            return run(name)

    def requests(self):
        """What the simulator saw of the load: requests for output, those of readiness left out."""
        return [
            seen
            for seen in read_truth(self.folder / "deployment" / "simulator.jsonl").records
            if seen.request_id
        ]


@pytest.fixture
def auditor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Auditor(tmp_path)
    found.dataset()
    return found


VIDEOS = """
suite: s
deployment:
  api: videos
  model: m
  endpoint: simulator
  metrics_path: null
  simulator: {{video_ms: {video_ms}, {behaviour}}}
datasets: {{prompts: {{path: prompts.jsonl}}}}
perf:
  offline:
    dataset: prompts
    load: {{pattern: burst, requests: 24, concurrency: 4}}
    budget: &patient {{vacancy: 1, schedule_lateness_ms: 2000, cpu_share: 1, achieved_share: 0.1}}
  single-stream:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 1, requests: 12}}
    budget: *patient
audit:
  a: {{test: output-caching, {audit}}}
"""


@pytest.fixture
def caching_suite():
    """A suite with one output-caching audit, as text.

    `video_ms` is the time that the simulator takes for a video. If the outcome of the audit depends on it, choose it
    long compared with the delays of a busy machine (`DECISIVE_MS`).
    """

    def text(audit="of: offline", behaviour="seed: 0", video_ms=12):
        return VIDEOS.format(audit=audit, behaviour=behaviour, video_ms=video_ms)

    return text
