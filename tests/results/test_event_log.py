"""Event logs: an event is on disk when `append` returns, and a log always consists of whole lines."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.errors import EvidenceError
from pytest_bench.results.event_log import EventLog, log_path, nonce_of, read_log, read_logs
from pytest_bench.results.settle import settle
from pytest_bench.verdict.events import Called, Ended, Fault, Selected

ENDED = Ended(status=0, at="2026-01-02T03:04:05Z")


def log(results, process="main"):
    return EventLog.create(results, process, "n")


def events(results, process="main"):
    return list(read_log(results, process, "n"))


def test_events_are_read_in_the_order_in_which_they_were_appended(tmp_path):
    writer = log(tmp_path)
    said = [Selected(point="a"), Fault(code="c", sentence="half \ud800"), Selected(point="b"), ENDED]
    for event in said:
        writer.append(event)
    assert [type(event) for event in events(tmp_path)] == [Selected, Fault, Selected, Ended]
    assert events(tmp_path)[1].sentence == "half ?"
    assert nonce_of(tmp_path) == "n"


def test_an_appended_event_survives_a_kill_of_its_process(tmp_path):
    code = (
        "import os; from pathlib import Path\n"
        "from pytest_bench.results.event_log import EventLog\n"
        "from pytest_bench.verdict.events import Selected\n"
        f"log = EventLog.create(Path({str(tmp_path)!r}), 'main', 'n')\n"
        "log.append(Selected(point='a')); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert events(tmp_path) == [Selected(point="a")]


def test_a_second_log_for_a_process_is_refused(tmp_path):
    log(tmp_path)
    with pytest.raises(FileExistsError):
        log(tmp_path)
    log(tmp_path, "gw0")
    assert read_logs(tmp_path, "n").keys() == {"main", "gw0"}


def test_events_that_cannot_be_written_are_kept_and_written_later(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = log(tmp_path)
    size = log_path(tmp_path, "main").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
        writer.append(Selected(point="a"))
        assert writer.problem.errno == errno.EFBIG
        assert log_path(tmp_path, "main").stat().st_size == size, "no part of a line"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.append(Selected(point="b"))
    assert writer.problem is None
    assert events(tmp_path) == [Selected(point="a"), Selected(point="b")]


def test_an_incomplete_last_line_is_ignored_and_a_damaged_line_is_an_error(tmp_path):
    writer = log(tmp_path)
    writer.append(Selected(point="a"))
    writer.append(Selected(point="b"))
    path = log_path(tmp_path, "main")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert events(tmp_path) == [Selected(point="a")]
    path.write_bytes(whole.replace(b'"a"', b'"x"'))
    with pytest.raises(EvidenceError, match=r"main\.jsonl:2"):
        events(tmp_path)


def test_the_log_of_another_session_or_process_is_refused(tmp_path):
    log(tmp_path)
    with pytest.raises(EvidenceError, match="of session n, not of other"):
        list(read_log(tmp_path, "main", "other"))
    log_path(tmp_path, "main").rename(log_path(tmp_path, "gw0"))
    with pytest.raises(EvidenceError, match="is the log of process main"):
        list(read_log(tmp_path, "gw0", "n"))
    for name in ("../main", "", "a b"):
        with pytest.raises(EvidenceError, match="not the name of a process"):
            log_path(tmp_path, name)


def test_a_session_is_red_from_its_first_event_until_its_last(tmp_path):
    assert settle(tmp_path).verdict.status == "error", "not even a log"
    writer = log(tmp_path)
    writer.append(Called(started="2026-01-02T03:04:05Z", results=str(tmp_path), junit="junit.xml"))
    assert settle(tmp_path).verdict.status == "incomplete"
    assert b'name="integrity"' in settle(tmp_path).junit
    pending = settle(tmp_path, pending={"main": ENDED})
    writer.append(ENDED)
    ended = settle(tmp_path)
    assert (pending.verdict.status, ended.verdict.status) == ("error", "error")
    assert pending.verdict.faults == ended.verdict.faults
    assert [fault.code for fault in ended.verdict.faults] == ["no-points"]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["events/main.jsonl", "plan.json", "environment.json"]), data=st.binary(max_size=200)
)
def test_settling_any_bytes_gives_a_verdict_that_is_not_good(tmp_path, name, data):
    (tmp_path / "events").mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    assert settle(tmp_path).verdict.status in {"error", "incomplete"}
