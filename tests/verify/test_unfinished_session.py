"""`pytest-bench verify` on a folder whose session did not finish."""

from __future__ import annotations

import errno
import fcntl
import shutil

import pytest

from pytest_bench.files import write_json
from pytest_bench.results.publish import write_verdict
from pytest_bench.verdict.events import Invocation
from pytest_bench.verdict.verdict import refusal

ONE, TWO, AUDIT = "small/perf/steady/c0001", "small/perf/steady/c0002", "small/audit/caching"


@pytest.fixture
def killed(results):
    """What is there if a session was killed once its first point was judged."""
    log = results / "events/main.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]))
    (results / "points" / TWO / "evidence.json").unlink()
    shutil.rmtree(results / "points" / AUDIT)
    write_verdict(results)
    (results / ".session").write_text("")
    return results


def test_a_killed_session_is_reported_with_the_state_of_its_points(killed, verify):
    status, said = verify(killed)
    assert status == 1
    assert "the session did not finish" in said
    assert f"judged: {ONE}; measured: {TWO}; not started: {AUDIT}" in said
    assert "cannot be read" not in said


def test_the_report_gives_the_command_to_rerun_and_the_usable_parts(killed, verify):
    _, said = verify(killed)
    assert "run it again with a new folder: pytest bench --endpoint=simulator --results=all" in said
    assert f"pytest-bench recount {killed}" in said


def test_no_recount_is_suggested_if_nothing_was_measured(killed, verify):
    shutil.rmtree(killed / "points" / ONE)
    shutil.rmtree(killed / "points" / TWO / "phases" / "measured")
    (killed / "points" / TWO / "summary.json").unlink()
    _, said = verify(killed)
    assert f"cut off: {TWO}; not started: {AUDIT}, {ONE}" in said
    assert "pytest-bench recount" not in said


def test_a_running_session_is_not_reported_as_killed(killed, verify):
    with (killed / ".session").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, said = verify(killed)
    assert (status, "still running" in said, "did not finish" in said) == (1, True, False)


def test_a_file_system_without_locks_counts_as_unlocked(killed, verify, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    status, said = verify(killed)
    assert (status, "the session did not finish" in said) == (1, True)


def test_a_removed_main_log_is_not_reported_as_a_killed_session(results, verify):
    (results / "events/main.jsonl").unlink()
    status, said = verify(results)
    assert (status, "events/main.jsonl: cannot be read" in said) == (1, True), said


def test_a_refused_call_is_reported_as_having_run_nothing(tmp_path, verify):
    sentence = "--results: taken is not empty"
    red = refusal(nonce="n", sentence=sentence, invocation=Invocation())
    write_json(tmp_path / "verdict.json", red)
    status, said = verify(tmp_path)
    assert status == 1
    assert said.splitlines()[0] == f"{tmp_path}: nothing was run: the call was refused: {sentence}"
