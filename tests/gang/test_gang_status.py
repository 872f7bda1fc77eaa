"""Which of several failures came first, from the status files of the ranks."""

from pathlib import Path

import pytest

from pytest_bench.gang.status import RankStatus, failures, folder_of, read_statuses, write_status


def status(rank, state="ended", reason="", because_of=None, at_ns=0, phase="serving"):
    return RankStatus(
        nonce="n",
        rank=rank,
        host=f"n{rank}",
        state=state,
        phase=phase,
        reason=reason,
        because_of=because_of,
        at_ns=at_ns,
    )


def told(*statuses, size=None):
    return failures(len(statuses) if size is None else size, {each.rank: each for each in statuses})


def test_ranks_that_ended_as_asked_have_no_failure():
    assert told(status(0), status(1)) == []


def test_the_earliest_failure_by_time_is_the_root_cause_whatever_its_rank():
    found = told(
        status(0, "failed", "the proxy ended", at_ns=30),
        status(1, "stopped", "rank 2 (n2) failed", because_of=2, at_ns=21),
        status(2, "failed", "out of memory", at_ns=20),
    )
    assert found == [
        "rank 2 (n2) failed while serving: out of memory",
        "rank 0 (n0) failed later, while serving: the proxy ended",
        "rank 1 (n1): stopped because of rank 2",
    ]


def test_a_killed_rank_is_the_root_cause_by_what_the_others_saw_of_it():
    seen = "rank 1 (n1) failed while preparing the image i: its process ended"
    found = told(
        status(0, "stopped", seen, because_of=1, at_ns=10),
        status(1, "running", phase="starting"),
        status(2, "failed", "the decode server lost its peer", at_ns=11),
    )
    assert found == [
        seen,
        "rank 0 (n0): stopped because of rank 1",
        "rank 2 (n2) failed later, while serving: the decode server lost its peer",
    ]


def test_of_ranks_that_name_each_other_the_first_says_what_it_saw():
    """As after the network between them has failed."""
    seen = "rank 1 (n1) failed while serving: it missed 3 heartbeats"
    found = told(
        status(0, "stopped", seen, because_of=1, at_ns=10),
        status(
            1, "stopped", "rank 0 (n0) failed while serving: it missed 3 heartbeats", because_of=0, at_ns=11
        ),
    )
    assert found == [seen, "rank 0 (n0): stopped because of rank 1"]


def test_a_rank_that_never_reports_is_named():
    assert told(status(0), size=2) == ["rank 1 never reported"]
    assert told(status(0), status(1, "running", phase="loading"), size=2) == [
        "rank 1 (n1) did not report its end; it was last loading"
    ]


def test_a_deadline_that_all_ranks_hear_of_is_told_once():
    late = "image:i:loaded 1/2; rank 1 (n1) loading for 412 s"
    assert told(
        status(0, "stopped", late, at_ns=1), status(1, "stopped", late, at_ns=2, phase="loading")
    ) == [
        f"rank 0 (n0) was stopped while serving: {late}",
        "rank 1 (n1) was stopped later, while loading: for the same reason",
    ]


@pytest.fixture
def folder(tmp_path) -> Path:
    for rank in (0, 1):
        folder_of(tmp_path, rank).mkdir()
        write_status(tmp_path, status(rank))
    return tmp_path


def test_status_files_are_read_by_rank(folder):
    assert read_statuses(folder, 2, "n") == {0: status(0), 1: status(1)}


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', '{"version": 2}'])
def test_a_damaged_status_file_is_no_report(folder, text):
    (folder_of(folder, 1) / "status.json").write_text(text)
    assert read_statuses(folder, 2, "n") == {0: status(0)}


def test_a_status_file_of_another_session_or_rank_is_no_report(folder):
    assert read_statuses(folder, 2, "other") == {}
    (folder_of(folder, 0) / "status.json").replace(folder_of(folder, 1) / "status.json")
    assert read_statuses(folder, 2, "n") == {}
