"""A point that asks more of this machine than it can give: said before it starts, and no number of it counts."""

import json
import os
import subprocess
import sys

import pytest

from pytest_bench.running.capacity import Capacity, store_path, this_machine, write_capacity

SUITE = """
suite: greedy
deployment:
  api: openai-chat
  model: simulated
  simulator: {ttft_ms: 0, itl_ms: 0, output_tokens: 1}
  metrics_path: null
datasets:
  made: {synthetic: {rows: 50, input_tokens: 5}}
perf:
  flood:
    dataset: made
    load: {pattern: constant, rate: 50000, requests: 5000}
    workers: 1
    bounds: {failed_requests: "== 0"}
"""

TEST = """
import pytest

@pytest.mark.points("perf")
def test_perf(run_load):
    run_load().require()
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """What pytest printed, and the verdict's entry of the point."""
    folder = tmp_path_factory.mktemp("greedy")
    suites = folder / "suites"
    suites.mkdir()
    (folder / "runtime").mkdir(mode=0o700)
    (suites / "greedy.yaml").write_text(SUITE)
    (suites / "test_perf.py").write_text(TEST)
    environ = os.environ | {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTEST_BENCH_LEASES": str(folder / "runtime"),
    }
    known = Capacity(
        machine=this_machine(),
        streams=100,
        streams_limit="client",
        streams_error=0.0125,
        turnaround_ms=7.5,
        rate=1000,
        rate_limit="client",
        lateness_ms=2.25,
        measured_at="2031-05-06T07:08:09Z",
    )
    write_capacity(store_path(environ), known)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "suites", "--endpoint=simulator", "--results=results"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    [point] = json.loads((folder / "results/verdict.json").read_text())["points"]
    return done, point


def test_a_client_bound_point_is_an_error_even_if_its_bounds_are_met(session):
    done, point = session
    assert (done.returncode, point["outcome"]) == (1, "error")
    assert {reason["code"] for reason in point["reasons"]} == {"client-bound"}


def test_the_message_names_the_key_to_change(session):
    _, point = session
    for reason in point["reasons"]:
        assert reason["sentence"].startswith("client-bound in phase 'measured': ")
        assert reason["sentence"].endswith(
            "set `workers:` above 1, for fewer requests per load worker, or lower the rate; on a machine that others "
            "use, give the client cores of its own"
        )


def test_a_load_beyond_the_capacity_was_noted_before_the_point_started(session):
    done, _ = session
    said = "greedy/perf/flood, phase 'measured': asks for 50,000 requests a second, but this machine carries 1,000"
    assert said in done.stdout
    assert done.stdout.index(said) < done.stdout.index("verdict: ")
