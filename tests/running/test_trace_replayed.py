"""A trace with lengths, replayed by one session on the simulator, with a warm-up and the server's metrics beside it."""

import json
import os
import subprocess
import sys

import pytest
from byte_level import train

from pytest_bench.load.log import read_records
from pytest_bench.tokens.counts import read_inputs

SUITE = """
suite: replay
deployment:
  api: openai-completions
  model: simulated
  tokens: {{tokenizer: {tokenizer}}}
  simulator: {{ttft_ms: 5, itl_ms: 1}}
  metrics_interval_s: 0.1
datasets:
  monday: {{synthetic: {{trace: monday.jsonl}}}}
perf:
  point:
    dataset: monday
    load: {{pattern: trace, trace: monday.jsonl}}
    warmup: {{requests: 2, handover: drain}}
    budget: {{vacancy: 1, schedule_lateness_ms: 5000, achieved_share: 0.01}}
"""

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""

ARRIVALS = [(0, 40, 7), (30, 25, 3), (30, 33, 11), (400, 8, 5)]


@pytest.fixture(scope="module")
def point(tmp_path_factory):
    """The evidence folder of the point."""
    folder = tmp_path_factory.mktemp("replay")
    train().save(str(folder / "tokenizer.json"))
    suites = folder / "suites"
    suites.mkdir()
    (suites / "replay.yaml").write_text(SUITE.format(tokenizer=folder / "tokenizer.json"))
    (suites / "test_perf.py").write_text(TEST)
    (suites / "monday.jsonl").write_text(
        "".join(
            json.dumps({"timestamp": at, "input_length": sent, "output_length": received, "hash_ids": [1]})
            + "\n"
            for at, sent, received in ARRIVALS
        )
    )
    scratch, runtime = folder / "tmp", folder / "runtime"
    for made in (scratch, runtime):
        made.mkdir(mode=0o700)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "--endpoint=simulator", "--results=results"],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(scratch), "PYTEST_BENCH_LEASES": str(runtime / "leases")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert list(scratch.iterdir()) == []
    return folder / "results/points/replay/perf/point"


def test_requests_are_sent_at_the_times_of_the_trace(point):
    start_ns = json.loads((point / "phases/measured/phase.json").read_text())["start_ns"]
    records = sorted(read_records(point / "phases/measured"), key=lambda record: record.index)
    assert [record.scheduled_ns - start_ns for record in records] == [at * 10**6 for at, _, _ in ARRIVALS]


def test_each_arrival_has_the_input_and_output_lengths_of_the_trace(point):
    phase = point / "phases/measured"
    records = sorted(read_records(phase), key=lambda record: record.index)
    inputs = read_inputs(phase / "tokens.jsonl")
    assert [inputs[record.sample_index] for record in records] == [sent for _, sent, _ in ARRIVALS]
    assert [record.usage.output_tokens for record in records] == [received for _, _, received in ARRIVALS]


def test_the_warm_up_uses_separate_samples(point):
    samples = [
        {record.sample_index for record in read_records(point / "phases" / label)}
        for label in ("warmup", "measured")
    ]
    assert samples == [{0, 1}, {2, 3, 4, 5}]


def test_the_metrics_of_the_server_are_recorded_for_each_phase(point):
    def labels(phase):
        lines = map(json.loads, (point / "phases" / phase / "metrics.0.jsonl").read_text().splitlines())
        return [line["label"] for line in lines if "label" in line]

    for phase in ("warmup", "measured"):
        assert (labels(phase)[0], labels(phase)[-1]) == ("before", "after")
    # 400 ms of load, read every 100 ms.
    assert 2 <= labels("measured").count(None) <= 8


def test_readings_are_evidence(point):
    listed = {entry["path"] for entry in json.loads((point / "evidence.json").read_text())["files"]}
    assert {f"phases/{phase}/metrics.0.jsonl" for phase in ("warmup", "measured")} <= listed
