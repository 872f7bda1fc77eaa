"""The order of an audit among benchmarks is what happened on its server, not what suites or the plan declare."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_bench.cli import main
from pytest_bench.simulator import Behaviour, start

AUDIT = """
audit:
  caching:
    test: output-caching
    dataset: prompts
    load: {pattern: concurrency, concurrency: 1, requests: 30}
    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    sample_index: 3
    threshold: 0.9
"""
TEST_AUDIT = """
import pytest


@pytest.mark.points("audit")
def test_audit(run_load):
    run_load().require()
"""
REVERSING = """
def pytest_collection_finish(session):
    session.items.reverse()
"""


@pytest.fixture
def caching(folder):
    """One benchmark on a server that answers from its cache from the second identical request on."""
    with start(Behaviour(ttft_ms=20, itl_ms=0.1, output_tokens=2, cache_after=2)) as server:
        folder.endpoint = server.url
        path = folder.root / "bench/tiny.yaml"
        text = path.read_text().partition("\n  two:")[0].replace("requests: 2}", "requests: 40}")
        text = "".join(line for line in text.splitlines(keepends=True) if "  simulator:" not in line)
        path.write_text(text)
        folder.write("bench/test_audit.py", TEST_AUDIT)
        yield folder


def point(ran, name):
    (found,) = [item for item in ran.verdict["points"] if item["id"] == name]
    return found


def test_a_benchmark_of_another_suite_on_the_same_server_and_prompts_counts_as_a_benchmark_on_them(caching):
    """By another name of the server, too."""
    suite = (caching.root / "bench/tiny.yaml").read_text()
    other = suite.replace("suite: tiny", "suite: alpha").replace("127.0.0.1", "localhost")
    caching.write(
        "bench/alpha.yaml", other.replace("${ENDPOINT:-}", caching.endpoint.replace("127.0.0.1", "localhost"))
    )
    caching.write("bench/tiny.yaml", suite.partition("perf:")[0] + AUDIT)
    ran = caching.run("-n0")
    found = point(ran, "tiny/audit/caching")
    assert found["outcome"] == "pass", ran.output
    assert {"after-benchmark", "cache-shared"} <= set(found["labels"])
    assert "alpha/perf/one may have sent the same samples" in ran.output
    assert main(["verify", str(ran.results)]) == 0


def test_an_audit_that_a_plugin_moves_behind_the_benchmark_is_an_error(caching):
    path = Path(caching.root / "bench/tiny.yaml")
    path.write_text(path.read_text() + AUDIT)
    caching.write("conftest.py", REVERSING)
    ran = caching.run("-n0")
    assert ran.status == 1
    assert ran.reasons("tiny/audit/caching") == ["out-of-order"], ran.output
    assert ran.outcomes == {"tiny/audit/caching": "error", "tiny/perf/one": "pass"}
    assert "tiny/perf/one was planned after the audit" in ran.output
