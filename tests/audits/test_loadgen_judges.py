"""MLPerf's LoadGen and our export agree on the same requests, whose times are taken from LoadGen's trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exported import exported_summary
from loadgen_run import REQUESTS, token_count

from pytest_bench.metrics import early_stopping
from pytest_bench.records import RequestRecord
from pytest_bench.workload import Load

if "CI" not in os.environ:
    pytest.importorskip("mlperf_loadgen", reason="LoadGen has no wheel for this Python")

LOADS = {
    "Server": Load(pattern="poisson", rate=1500.0, requests=REQUESTS),
    "SingleStream": Load(pattern="concurrency", concurrency=1, requests=REQUESTS),
    "Offline": Load(pattern="burst", requests=REQUESTS),
}
SAMPLE = re.compile(r'{"name":"Sample","cat":"default","ph":"b".*?"ts":([0-9.]+),"args":({.*?})}')
FIRST_TOKEN = re.compile(r'{"name":"Token_Latency".*?"ts":([0-9.]+),"args":({.*?})}')
"""Of the Server scenario. The time stamp is the scheduled time of the sample."""


def events(pattern, trace):
    """Scheduled times, written in microseconds with three decimals, and the arguments of events."""
    for scheduled_us, args in pattern.findall(trace):
        yield int(scheduled_us.replace(".", "")), json.loads(args)


class Judged:
    """The results of one run, by LoadGen and by us."""

    def __init__(self, folder: Path, scenario: str):
        self.loadgen = {}
        for line in (folder / "mlperf_log_detail.txt").read_text().splitlines():
            entry = json.loads(line.removeprefix(":::MLLOG "))
            self.loadgen.setdefault(entry["key"], entry["value"])
        trace = (folder / "mlperf_log_trace.json").read_text()
        firsts = {
            scheduled_ns: args["issue_delay"] + args["issue_to_done"]
            for scheduled_ns, args in events(FIRST_TOKEN, trace)
        }
        self.records = [
            self._record(scheduled_ns, args, firsts.get(scheduled_ns))
            for scheduled_ns, args in events(SAMPLE, trace)
        ]
        assert len(self.records) == REQUESTS
        counts = {record.request_id: (token_count(record.sample_index), 1) for record in self.records}
        self.ours = exported_summary(self.records, LOADS[scenario], counts if firsts else None)

    def _record(self, scheduled_ns, args, first_token_ns):
        done_ns = scheduled_ns + args["complete_ns"]
        return RequestRecord(
            seq=args["sample_seq"],
            request_id=str(args["sample_seq"]),
            index=args["sample_seq"],
            sample_index=args["sample_idx"],
            scheduled_ns=scheduled_ns,
            send_start_ns=scheduled_ns + args["issue_start_ns"],
            first_content_ns=None if first_token_ns is None else scheduled_ns + first_token_ns,
            last_content_ns=done_ns,
            end_ns=done_ns,
            event_count=2,
            content_event_count=2,
            content_gaps_ns=() if first_token_ns is None else (args["complete_ns"] - first_token_ns,),
            outcome="succeeded",
        )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    found = {}

    def run(scenario, *, tokens=False):
        key = scenario, tokens
        if key not in found:
            folder = tmp_path_factory.mktemp("loadgen")
            script = Path(__file__).with_name("loadgen_run.py")
            command = [sys.executable, script, scenario, "tokens" if tokens else "", folder]
            subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)
            found[key] = Judged(folder, scenario)
        return found[key]

    return run


def series_of(loadgen, prefix, suffix):
    """LoadGen's percentiles by our keys."""
    return {
        key: loadgen[f"{prefix}{key.ljust(5, '0')}{suffix}"]
        for key in ("50.0", "90.0", "95.0", "97.0", "99.0", "99.9")
    }


@pytest.mark.parametrize("scenario", ["Server", "SingleStream"])
def test_percentiles_of_the_latency_are_loadgens(judged, scenario):
    run = judged(scenario)
    written = run.ours["latency"]

    expected = series_of(run.loadgen, "result_", "_percentile_latency_ns")
    assert {key: written["loadgen_percentiles"][key] for key in expected} == expected
    assert written["min"] == run.loadgen["result_min_latency_ns"]
    assert written["max"] == run.loadgen["result_max_latency_ns"]
    assert int(written["avg"]) == run.loadgen["result_mean_latency_ns"]


def test_percentiles_of_the_time_to_first_token_are_loadgens(judged):
    run = judged("Server", tokens=True)

    expected = series_of(run.loadgen, "result_first_token_", "_percentile_latency_ns")
    assert {key: run.ours["ttft"]["loadgen_percentiles"][key] for key in expected} == expected


def test_the_time_per_output_token_beside_ours_is_loadgens(judged):
    """LoadGen divides whole nanoseconds, and rounds down."""
    run = judged("Server", tokens=True)

    expected = series_of(run.loadgen, "result_time_per_output_token_", "_percentile_ns")
    written = run.ours["tpot_loadgen"]["loadgen_percentiles"]
    assert {key: int(written[key]) for key in expected} == expected


def test_the_rates_of_the_server_scenario_are_loadgens_over_one_window(judged):
    run = judged("Server", tokens=True)

    assert run.ours["qps"] == pytest.approx(run.loadgen["result_completed_samples_per_sec"], rel=1e-3)
    assert run.ours["tps"] == pytest.approx(run.loadgen["result_completed_tokens_per_second"], rel=1e-3)


def test_the_rate_of_the_offline_scenario_is_loadgens(judged):
    run = judged("Offline")

    assert run.ours["qps"] == pytest.approx(run.loadgen["result_samples_per_second"], rel=1e-3)


@pytest.mark.parametrize(
    ("key", "field"), [("90.0", "early_stopping_latency_ss"), ("99.0", "early_stopping_latency_ms")]
)
def test_early_stopping_estimates_are_loadgens(judged, key, field):
    run = judged("SingleStream")

    assert run.ours["latency"]["early_stopping_percentiles"][key] == run.loadgen[field]
    latencies = np.sort([record.end_ns - record.send_start_ns for record in run.records]).astype(float)
    assert early_stopping.estimate(latencies, float(key) / 100) == run.loadgen[field]
