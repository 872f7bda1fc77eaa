import fcntl
import os
import subprocess
import sys

import pytest
from checkpoint_log import SESSION
from hypothesis import given, settings
from hypothesis import strategies as st
from writer_process import generation

from pytest_bench.checkpoints import open_checkpoint, read_checkpoint
from pytest_bench.errors import EvidenceError, UsageError


def contents_of(path):
    with open_checkpoint(path) as checkpoint:
        return checkpoint.contents


def test_a_missing_file_is_created_empty(tmp_path):
    path = tmp_path / "checkpoint.jsonl"
    contents = contents_of(path)
    assert (contents.header, contents.lines, path.read_bytes()) == (None, 0, b"")


def test_a_file_cut_at_every_byte_opens_with_all_of_its_whole_lines_and_can_be_continued(log):
    log.write(*log.results(0, 1), *log.errors(2))
    whole = log.path.read_bytes()
    for length in range(len(whole) + 1):
        log.path.write_bytes(whole[:length])
        head = whole[:length]
        # the line that lacks only its newline is complete
        completed = head + b"\n" if whole[length : length + 1] == b"\n" else head
        kept = completed[: completed.rfind(b"\n") + 1]
        contents = contents_of(log.path)
        assert log.path.read_bytes() == kept
        assert contents.lines == kept.count(b"\n")
        assert (contents.header is None) == (contents.lines == 0)
        if length % 10 == 0:
            log.write(*log.results(3))
            assert log.keys[3] in contents_of(log.path).results


def test_a_changed_byte_before_the_last_line_is_refused_with_its_offset_and_nothing_is_written(log):
    log.write(*log.results(0, 1, 2))
    whole = log.path.read_bytes()
    starts = [0, *(place + 1 for place in range(len(whole) - 1) if whole[place : place + 1] == b"\n")]
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        log.path.write_bytes(damaged)
        if place == len(whole) - 1:
            continue  # without its newline the last line may be a torn one
        offset = max(start for start in starts if start <= place)
        with pytest.raises(EvidenceError, match=f"byte {offset}: "):
            open_checkpoint(log.path)
        assert log.path.read_bytes() == damaged


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_checkpoint_a_fresh_file_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "checkpoint.jsonl"
    path.write_bytes(data)
    try:
        contents = contents_of(path)
    except EvidenceError:
        assert path.read_bytes() == data
    else:
        assert contents.lines == 0
        assert path.read_bytes() == b""


def test_a_file_that_is_not_a_checkpoint_is_refused_and_kept(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"my notes")
    with pytest.raises(EvidenceError, match="byte 0: this is not a checkpoint"):
        open_checkpoint(path)
    assert path.read_bytes() == b"my notes"


@pytest.mark.parametrize("place", ["link", "folder", "fifo"])
def test_a_path_that_is_not_a_plain_file_is_refused(tmp_path, place):
    path = tmp_path / "checkpoint.jsonl"
    if place == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif place == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(EvidenceError):
        open_checkpoint(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_second_opening_is_refused_until_the_first_is_closed(log):
    with open_checkpoint(log.path), pytest.raises(UsageError, match="another process is writing"):
        open_checkpoint(log.path)
    contents_of(log.path)


def test_a_lock_that_a_child_inherited_holds_after_the_parent_closed(log):
    checkpoint = open_checkpoint(log.path)
    inherited = os.dup(checkpoint.descriptor)
    checkpoint.close()
    with pytest.raises(UsageError):
        open_checkpoint(log.path)
    os.close(inherited)
    contents_of(log.path)


def test_a_file_system_without_locks_is_refused_at_once(log, monkeypatch):
    def no_locks(_descriptor, _operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UsageError, match="this file system cannot lock files"):
        open_checkpoint(log.path)


def test_a_file_that_is_being_written_can_be_read(log):
    log.write(*log.results(0))
    with open_checkpoint(log.path):
        with log.path.open("ab") as stream:
            stream.write(b'{"v":1,"seq":3,')
        contents = read_checkpoint(log.path)
    assert (len(contents.results), contents.tail) == (1, "torn")


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (lambda log: log.results(0, 0), "a second outcome of item '0'"),
        (lambda log: [*log.results(0), *log.errors(0)], "a second outcome of item '0'"),
        (lambda log: [("score", {"scoring": "1"}, log.keys[0])], "which has no result"),
        (lambda log: [("end", {"results": 0}, None), *log.results(0)], "after the end"),
        (lambda log: [("end", {"results": 3}, None)], "an end after 3 results; the file holds 0"),
        (lambda _log: [("result", {"answer": 1}, None)], "without a key"),
        (lambda _log: [("header", {}, None)], "one header only"),
        (lambda _log: [("session", {"nonce": 1}, None)], "invalid payload"),
        (lambda _log: [("other", {}, None)], "Invalid enum value"),
    ],
)
def test_lines_that_contradict_each_other_are_refused(log, lines, what):
    log.write(*lines(log))
    with pytest.raises(EvidenceError, match=what):
        open_checkpoint(log.path)


def test_results_before_a_session_are_refused(log):
    log.write(*log.results(0), session=None)
    with pytest.raises(EvidenceError, match="before the first session"):
        open_checkpoint(log.path)


def test_a_failure_and_a_later_success_are_one_result_of_two_attempts(log):
    log.write(*log.errors(0, 1))
    log.write(*log.results(0))
    contents = contents_of(log.path)
    assert list(contents.results) == [log.keys[0]]
    assert contents.errors == {log.keys[1]: 1}
    assert contents.attempts == {log.keys[0]: 2, log.keys[1]: 1}


def test_what_a_child_wrote_and_tore_is_read_and_repaired_by_the_parent_that_holds_the_lock(log):
    with open_checkpoint(log.path) as checkpoint:
        writer = checkpoint.writer()
        writer.append("header", {"log": "checkpoint", "point": "p", "generation": generation(2)})
        writer.append("session", SESSION)
        writer.close()
        child = (
            "import sys; from pathlib import Path; from pytest_bench.checkpoints import *; "
            "import os; fd = int(sys.argv[2]); "
            "writer = CheckpointWriter(Path(sys.argv[1]), fd, lines=2, good_bytes=int(sys.argv[3])); "
            "writer.append('result', {'answer': 1}, Key('0', 'hash-0', 0, 2)); writer.close(); "
            "os.write(fd, b'torn'); os.kill(os.getpid(), 9)"
        )
        size = log.path.stat().st_size
        command = [sys.executable, "-c", child, str(log.path), str(checkpoint.descriptor), str(size)]
        done = subprocess.run(command, pass_fds=[checkpoint.descriptor], check=False)
        assert done.returncode == -9
        assert checkpoint.contents.results == {}
        assert list(checkpoint.reread().results) == [log.keys[0]]
        assert not log.path.read_bytes().endswith(b"torn")
        writer = checkpoint.writer()
        writer.append("end", {"results": 1})
        writer.close()
        assert checkpoint.reread().ended
