"""Runs that end early keep what was complete, and leave nothing behind."""

import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from driving import gone, in_thread, phase, until, workers_of

from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.errors import EvidenceError, LoadError, WorkerDied
from pytest_bench.files import read_json
from pytest_bench.load import engine, supervisor
from pytest_bench.load.interrupts import Interrupts
from pytest_bench.load.log import read_records
from pytest_bench.workload import Load, Timeouts

ENDLESS = Load(pattern="concurrency", concurrency=6, duration_s=60.0)


@contextmanager
def interruptible(tmp_path, url, workers, *, concurrency=6, descriptors=1024):
    """A process that drives a load, once it is well under way; its scratch folder is `tmp_path / 'tmp'`."""
    (tmp_path / "tmp").mkdir()
    here = Path(__file__).parent
    arguments = [here / "interruptible.py", tmp_path / "runs", url, str(workers), str(concurrency)]
    process = subprocess.Popen(
        ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
    )
    try:
        process.load_workers = [int(pid) for pid in process.stdout.readline().split()]
        yield process
    finally:
        process.kill()
        process.communicate()


def open_files(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("whole_group", [False, True], ids=["parent", "everyone"])
def test_a_signal_keeps_what_is_complete_and_leaves_nothing_behind(simulator, tmp_path, number, whole_group):
    with interruptible(tmp_path, simulator.url, 2) as process:
        assert len(process.load_workers) == 2
        # Slurm and containers signal every process, not only the first.
        for pid in [*(process.load_workers if whole_group else ()), process.pid]:
            os.kill(pid, number)
        assert process.wait(60) == 130
        assert all(gone(pid) for pid in process.load_workers)
    folder = tmp_path / "runs" / "run1" / "main"
    result = read_json(folder / "phase.json")
    records = list(read_records(folder))
    assert result["issued"] == len(records) == result["succeeded"] + result["failed"] + result["interrupted"]
    assert result["succeeded"] > 20
    assert 1 <= result["interrupted"] <= 6
    assert result["complete"] is False
    assert sum(record.outcome == "succeeded" for record in records) == result["succeeded"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_load_workers_end_when_their_parent_is_killed_and_nothing_is_left(simulator, tmp_path):
    with interruptible(tmp_path, simulator.url, 3) as process:
        os.kill(process.load_workers[0], signal.SIGSTOP)
        process.kill()
        process.wait()
        until(lambda: all(gone(pid) for pid in process.load_workers))
        assert list((tmp_path / "tmp").iterdir()) == []


def test_no_space_for_shared_files_is_an_error_with_the_folder(simulator, drive, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec, _ = drive.spec(simulator.url, Load(pattern="constant", rate=1e5, requests=100_000))
    with (
        small_disk(tmp_path, 400_000),
        pytest.raises(
            LoadError, match=rf"^{tmp_path}: cannot be written: .*free some space there, or set TMPDIR"
        ),
    ):
        engine.run(spec)
    assert workers_of(os.getpid()) == []


def test_an_interrupt_in_the_parent_is_raised_after_the_logs_are_closed(simulator, drive):
    def interrupt(progress):
        if progress.succeeded:
            raise KeyboardInterrupt

    spec, run = drive.spec(simulator.url, ENDLESS, workers=3, knobs={"ttft_ms": 5})
    with pytest.raises(KeyboardInterrupt):
        engine.run(spec, interrupt)
    result = read_json(run.folder / "main" / "phase.json")
    assert result["issued"] == len(run.records())
    assert workers_of(os.getpid()) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_a_load_worker_that_dies_fails_the_phase_at_once_and_is_named(simulator, drive, workers):
    def kill_last(progress):
        if progress.succeeded > 10:
            os.kill(workers_of(os.getpid())[-1], signal.SIGKILL)

    spec, run = drive.spec(simulator.url, ENDLESS, workers=workers, knobs={"ttft_ms": 10})
    with pytest.raises(WorkerDied, match=f"load worker {workers - 1} ended with status -9"):
        engine.run(spec, kill_last)
    assert workers_of(os.getpid()) == []
    result = read_json(run.folder / "main" / "phase.json")
    assert result["issued"] == result["succeeded"] + result["failed"] + result["interrupted"] > 10
    assert result["complete"] is False
    # The logs of the others are whole, and what the killed one had written can be read.
    for number in range(workers - 1):
        assert b'"kind":"end"' in (run.folder / "main" / f"requests.{number}.jsonl").read_bytes()
    assert sum(map(len, run.ids_by_worker())) <= result["issued"]


def warmed_up(simulator, drive):
    """A short phase that ends, and one that does not."""
    short = phase(Load(pattern="concurrency", concurrency=2, requests=6), "warmup")
    return drive.spec(simulator.url, short, phase(ENDLESS, "measured"), knobs={"ttft_ms": 5}, workers=2)


def accounts(run):
    return [read_json(run.folder / label / "phase.json") for label in ("warmup", "measured")]


def test_a_phase_that_was_over_stays_complete_however_a_later_one_ends(simulator, drive):
    def interrupt(progress):
        if progress.phase == 1 and progress.succeeded:
            raise KeyboardInterrupt

    spec, run = warmed_up(simulator, drive)
    with pytest.raises(KeyboardInterrupt):
        engine.run(spec, interrupt)
    warmup, measured = accounts(run)
    assert (warmup["complete"], warmup["issued"], warmup["interrupted"]) == (True, 6, 0)
    assert measured["complete"] is False


def test_a_phase_whose_log_a_dead_load_worker_never_closed_is_not_complete(simulator, drive):
    def kill(progress):
        if progress.phase == 1 and progress.succeeded:
            os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    spec, run = warmed_up(simulator, drive)
    with pytest.raises(WorkerDied):
        engine.run(spec, kill)
    assert [account["complete"] for account in accounts(run)] == [False, False]


def test_a_load_worker_that_was_stopped_fails_the_phase_and_is_named(simulator, drive, monkeypatch):
    monkeypatch.setattr(supervisor, "_HUNG_AFTER_S", 0.7)

    def stop_first(progress):
        if progress.succeeded > 10:
            os.kill(workers_of(os.getpid())[0], signal.SIGSTOP)

    spec, run = drive.spec(simulator.url, ENDLESS, workers=2, knobs={"ttft_ms": 10})
    with pytest.raises(WorkerDied, match=r"load worker 0 has not answered for 0.7 s: it was stopped"):
        engine.run(spec, stop_first)
    assert workers_of(os.getpid()) == []
    assert b'"kind":"end"' in (run.folder / "main" / "requests.1.jsonl").read_bytes()


class Endless(OpenAIChat):
    @staticmethod
    def decode_stream(events):
        while True:
            pass


def test_a_load_worker_in_an_endless_loop_fails_the_phase_and_is_named(simulator, drive, monkeypatch):
    monkeypatch.setattr(supervisor, "_HUNG_AFTER_S", 0.3)
    spec, _ = drive.spec(simulator.url, ENDLESS, api=Endless)
    with pytest.raises(
        WorkerDied, match=r"load worker 0 has not answered for 0.3 s: it runs without a heartbeat"
    ):
        engine.run(spec)
    assert workers_of(os.getpid()) == []


def test_an_api_that_raises_fails_the_phase_with_its_traceback(simulator, drive):
    spec, _ = drive.spec(simulator.url, ENDLESS, api=Broken)
    with pytest.raises(WorkerDied, match=r"(?s)load worker 0 ended with status 1.*KeyError: 'surprise'"):
        engine.run(spec)
    assert workers_of(os.getpid()) == []


def test_an_api_whose_error_looks_like_a_connections_fails_the_phase_too(simulator, drive):
    spec, _ = drive.spec(simulator.url, ENDLESS, api=WithoutItsFile)
    with pytest.raises(
        WorkerDied, match=r"(?s)load worker 0 ended with status 1.*FileNotFoundError: .*vocabulary"
    ):
        engine.run(spec)
    assert workers_of(os.getpid()) == []


def test_an_interrupt_while_connections_are_being_made_leaves_no_load_worker(drive):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # No connection is accepted: the kernel completes the first few, and the next ones hang.
        queued = [socket.socket() for _ in range(4)]
        for one in queued:
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        spec, _ = drive.spec(url, ENDLESS, timeouts=Timeouts(connect_s=60.0))

        def interrupt():
            until(lambda: workers_of(os.getpid()))
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            in_thread(interrupt)
            engine.run(spec)
        assert workers_of(os.getpid()) == []
        for one in queued:
            one.close()
    assert workers_of(os.getpid()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_drops_in_a_callback_of_its_garbage_collector_ends_the_run(
    simulator, drive, number
):
    def once(stage, _info):
        if stage == "stop" and begun and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    begun, sent = [], []
    spec, run = drive.spec(simulator.url, ENDLESS)
    handler, threshold = signal.signal(number, signal.default_int_handler), gc.get_threshold()
    gc.set_threshold(1)
    gc.callbacks.append(once)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.run(spec, begun.append)
    finally:
        gc.callbacks.remove(once)
        gc.set_threshold(*threshold)
        assert signal.signal(number, handler) is signal.default_int_handler
    assert sent == [number]
    assert workers_of(os.getpid()) == []
    assert (run.folder / "main" / "phase.json").is_file()


@pytest.mark.parametrize("leave", [False, True], ids=["handled", "ignored since"])
def test_interrupts_leave_the_handlers_as_they_were(leave):
    def ignore_from_now_on(_number, _frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ignore_from_now_on)
    try:
        with Interrupts() as interrupts:
            if leave:
                with pytest.raises(KeyboardInterrupt), interrupts.deferred():
                    signal.raise_signal(signal.SIGTERM)
                with pytest.raises(KeyboardInterrupt):
                    interrupts.check()
            interrupts.check()
        assert signal.getsignal(signal.SIGTERM) is (signal.SIG_IGN if leave else ignore_from_now_on)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_api_that_cannot_be_imported_fails_the_phase_and_says_why(simulator, drive):
    spec, _ = drive.spec(simulator.url, ENDLESS)
    with pytest.raises(WorkerDied, match="No module named 'nowhere'"):
        engine.run(msgspec.structs.replace(spec, api="nowhere:Api"))


class Broken(OpenAIChat):
    @staticmethod
    def decode_stream(events):
        raise KeyError("surprise")


class WithoutItsFile(OpenAIChat):
    @staticmethod
    def decode_stream(events):
        return Path("vocabulary").read_text()


@contextmanager
def small_disk(folder, size):
    """A disk of so many bytes at `folder`: a real one where this process may mount, else a limit on files."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode == 0:
        try:
            yield "No space left on device"
        finally:
            subprocess.run(["umount", folder], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 4, before[1]))
    try:
        yield "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_fails_the_phase_naming_the_file(simulator, drive):
    spec, run = drive.spec(simulator.url, ENDLESS, workers=2, max_tokens=200)
    with (
        small_disk(run.folder / "main", 400_000) as reason,
        pytest.raises(
            LoadError,
            match=rf"cannot continue: .*main/\w+\.\d\.jsonl: cannot be written: {reason}; free some",
        ),
    ):
        engine.run(spec)
    assert workers_of(os.getpid()) == []


def test_a_client_without_descriptors_fails_with_the_remedy(simulator, tmp_path):
    with interruptible(tmp_path, simulator.url, 1, concurrency=200, descriptors=80) as process:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert (
            "LoadError: load worker 0 cannot continue: the client cannot open another connection"
            in errors.decode()
        )
        assert "raise `ulimit -n`, lower the concurrency" in errors.decode()


def test_a_run_leaves_no_process_no_descriptor_and_no_folder(simulator, drive, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    drive(simulator.url, Load(pattern="poisson", rate=500.0, requests=10))
    before = open_files(os.getpid())
    drive(simulator.url, Load(pattern="poisson", rate=500.0, requests=10), workers=3)
    assert open_files(os.getpid()) == before
    assert workers_of(os.getpid()) == []
    assert list(scratch.iterdir()) == []


def test_what_was_written_before_an_interrupt_can_be_read_although_the_log_is_unfinished(simulator, drive):
    def kill(progress):
        if progress.succeeded > 300:
            os.kill(workers_of(os.getpid())[0], signal.SIGKILL)

    spec, run = drive.spec(simulator.url, ENDLESS)
    with pytest.raises(WorkerDied):
        engine.run(spec, kill)
    with pytest.raises(EvidenceError, match="without an end line"):
        run.records()
    assert sum(map(len, run.ids_by_worker())) > 100


@pytest.mark.parametrize("handover", ["drain", "overlap"])
def test_every_phase_has_a_last_progress_report_once_its_requests_have_ended(simulator, drive, handover):
    reports = []
    drive(
        simulator.url,
        phase(Load(pattern="concurrency", concurrency=4, requests=12), label="first", handover=handover),
        phase(Load(pattern="concurrency", concurrency=4, requests=40), label="second"),
        on_progress=reports.append,
        workers=2,
        knobs={"ttft_ms": 20},
    )
    last = [progress for progress in reports if progress.over]
    assert [(seen.phase, seen.succeeded, seen.in_flight) for seen in last] == [(0, 12, 0), (1, 40, 0)]
    assert reports[-1] is last[-1]
