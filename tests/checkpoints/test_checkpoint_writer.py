import os
import resource
import signal
import threading
from pathlib import Path

import pytest
from writer_process import keys_of

from pytest_bench.checkpoints import CheckpointWriter, open_checkpoint
from pytest_bench.checkpoints import writer as writer_module
from pytest_bench.checkpoints.contents import read_payloads


def test_payloads_are_read_back_as_written(log):
    log.write(*log.results(0, 1))
    with open_checkpoint(log.path) as checkpoint:
        places = list(checkpoint.contents.results.values())
    assert list(read_payloads(log.path, places)) == [b'{"answer":0}', b'{"answer":1}']


def test_a_payload_that_cannot_be_serialised_is_an_error_with_its_traceback_and_disturbs_no_other(log):
    log.write(
        ("result", {"answer": "\ud800"}, log.keys[0]), ("result", {1: object()}, log.keys[1]), *log.results(2)
    )
    with open_checkpoint(log.path) as checkpoint:
        contents = checkpoint.contents
    assert list(contents.results) == [log.keys[2]]
    assert contents.errors.keys() == {log.keys[0], log.keys[1]}
    assert b"Traceback" in log.path.read_bytes()


def test_each_line_is_one_write(log, monkeypatch):
    writes, write = [], os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(bytes(data)) or write(fd, data))
    log.write(*log.results(0, 1, 2))
    assert b"".join(writes) == log.path.read_bytes()
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in writes)


@pytest.mark.parametrize(("sync", "most"), [("each", 1), ("group", 64)])
def test_at_most_a_group_of_lines_is_written_and_not_durable(log, monkeypatch, sync, most):
    synced, fsync = [], os.fsync
    state = {"written": 0}

    def counting(fd):
        synced.append(state["written"])
        fsync(fd)

    with open_checkpoint(log.path) as checkpoint:
        monkeypatch.setattr(os, "fsync", counting)
        durable = []
        writer = checkpoint.writer(
            sync=sync, on_written=lambda count: state.update(written=count), on_durable=durable.append
        )
        for key in keys_of(300, 2):
            writer.append("result", {}, key)
        writer.close()
    assert durable[-1] == writer.written == 300
    assert all(after - before <= most for before, after in zip([0, *synced], synced, strict=False))


def test_a_lone_line_becomes_durable_without_more_lines_or_closing(log):
    reached = threading.Event()
    with open_checkpoint(log.path) as checkpoint:
        writer = checkpoint.writer(on_durable=lambda _count: reached.set())
        writer.append("result", {}, keys_of(1, 1)[0])
        assert reached.wait(60)
        writer.close()


def test_a_full_disk_cuts_back_to_the_last_whole_line_and_stops(log):
    log.write(*log.results(0))
    size = log.path.stat().st_size
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, previous[1]))  # room for a part of a line
    try:
        writer = log.write(*log.results(1, 2), session=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be written: only 10 of" in writer.fault
    assert log.path.stat().st_size == size
    log.write(*log.results(1))
    with open_checkpoint(log.path) as checkpoint:
        assert list(checkpoint.contents.results) == log.keys[:2]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_from_the_start_is_a_fault():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = CheckpointWriter(Path("/dev/full"), descriptor, lines=0, good_bytes=0)
    writer.append("session", {})
    writer.close()
    os.close(descriptor)
    assert "No space left on device" in writer.fault
    assert writer.written == 0


def test_a_failed_sync_is_final_and_unsynced_lines_are_not_kept(log, monkeypatch):
    log.write(*log.results(0))
    size = log.path.stat().st_size
    with open_checkpoint(log.path) as checkpoint:
        writer = checkpoint.writer(sync="each")
        calls = []

        def failing(fd):
            calls.append(fd)
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fsync", failing)
        for kind, payload, key in log.results(1, 2, 3):
            writer.append(kind, payload, key)
        writer.close()
    assert "cannot be synced: Input/output error" in writer.fault
    assert len(calls) == 1
    assert log.path.stat().st_size == size


def test_a_callback_that_fails_is_a_fault(log):
    def fails(_count):
        raise RuntimeError("Event loop is closed")

    writer = log.write(*log.results(0, 1), on_written=fails)
    assert "the writing thread failed: RuntimeError: Event loop is closed" in writer.fault


def test_lines_that_wait_for_a_slow_disk_are_bounded(log, monkeypatch):
    monkeypatch.setattr(writer_module, "_MOST_WAITING", 10)
    blocked = threading.Event()
    with open_checkpoint(log.path) as checkpoint:
        writer = checkpoint.writer(on_written=lambda _count: blocked.wait(60))
        for key in keys_of(50, 1):
            writer.append("result", {}, key)
        blocked.set()
        writer.close()
    assert "the disk cannot keep up: 10 lines wait" in writer.fault
