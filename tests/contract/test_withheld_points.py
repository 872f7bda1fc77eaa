"""After an audit that could not be completed, nothing more is measured on its deployment."""

from __future__ import annotations

import json

import pytest

from pytest_bench.verify.session import verify_session

AUDIT = """
audit:
  caching:
    test: output-caching
    dataset: prompts
    load: {pattern: concurrency, concurrency: 1, requests: 4}
    budget: {achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}
    threshold: %s
"""
TEST_AUDIT = """
import os
import pytest


@pytest.mark.points("audit")
def test_audit(run_load):
    %s
    run_load().require()
"""


@pytest.fixture
def audited(folder):
    def write(threshold: float = 0.99, body: str = "pass"):
        path = folder.root / "bench/tiny.yaml"
        path.write_text(path.read_text() + AUDIT % threshold)
        folder.write("bench/test_audit.py", TEST_AUDIT % body)
        return folder

    return write


def outcomes(ran) -> dict[str, str]:
    return {name.removeprefix("tiny/"): outcome for name, outcome in ran.outcomes.items()}


def test_after_an_audit_that_passes_later_points_run(audited):
    ran = audited().run("-n0")
    assert outcomes(ran) == {"audit/caching": "pass", "perf/one": "pass", "perf/two": "pass"}, ran.output
    assert ran.status == 0


def test_after_an_audit_that_fails_later_points_run(audited):
    """A threshold that no server can meet twice in a row is as good as a server that caches."""
    ran = audited(threshold=0.000001).run("-n0")
    found = outcomes(ran)
    assert (found["perf/one"], found["perf/two"]) == ("pass", "pass")


def test_after_an_audit_that_is_an_error_later_points_are_missing(audited, workers):
    ran = audited(body="raise RuntimeError('no audit')").run(workers)
    assert ran.status == 1
    assert outcomes(ran) == {"audit/caching": "error", "perf/one": "missing", "perf/two": "missing"}, (
        ran.output
    )
    assert ran.reasons("tiny/perf/one") == ["withheld"]
    assert "tiny/audit/caching" in ran.output
    assert set(ran.junit.values()) == {"error"}


def test_the_note_of_what_was_held_back_is_the_sessions_own(audited):
    """As `verify` sees it: of this session, of an audit of the deployment that did not pass, and there."""
    ran = audited(body="raise RuntimeError('no audit')").run("-n0")
    note = ran.results / "deployments/tiny/withheld.json"
    good = json.loads(note.read_text())
    assert good["nonce"] == ran.verdict["nonce"]
    assert verify_session(ran.results).problems == ()
    for spoilt in (
        {"nonce": "other"},
        {"audit": "tiny/perf/none"},
        {"version": 2},
        {"more": 1},
        {"audit": None},
    ):
        note.write_text(json.dumps(good | spoilt))
        altered, *said = verify_session(ran.results).problems
        assert "was altered" in altered
        assert said
        assert all(problem.startswith("deployments/tiny/withheld.json: ") for problem in said), said
    note.unlink()
    listed, problem = verify_session(ran.results).problems
    assert "is listed" in listed
    assert "is missing, although points of tiny were withheld" in problem


def test_after_a_worker_that_died_in_an_audit_later_points_are_missing(audited):
    ran = audited(body="os._exit(1)").run("-n2")
    assert ran.status != 0
    assert outcomes(ran) == {"audit/caching": "error", "perf/one": "missing", "perf/two": "missing"}, (
        ran.output
    )


SKIPS = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item):
        if "audit" in item.name:
            %s
"""


@pytest.mark.parametrize("what", ["pytest.skip('not today')", "raise RuntimeError"])
def test_an_audit_that_a_conftest_keeps_from_beginning_withholds_what_follows(audited, what, workers):
    """A conftest that is read late comes before all that were there."""
    folder = audited()
    folder.write("bench/conftest.py", SKIPS % what)
    ran = folder.run(workers, ".")
    assert ran.status == 1, ran.output
    assert outcomes(ran) == {"audit/caching": "error", "perf/one": "missing", "perf/two": "missing"}
    assert ran.faults == []
    assert verify_session(ran.results).problems == ()


def test_an_audit_that_was_not_asked_for_withholds_nothing(audited):
    ran = audited(body="raise RuntimeError('no audit')").run("-n0", "-k", "perf")
    assert outcomes(ran) == {"perf/one": "pass", "perf/two": "pass"}
