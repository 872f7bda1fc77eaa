"""Leases between real processes: while one holds a lease, another cannot."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_bench import clock
from pytest_bench.errors import BenchError
from pytest_bench.leases import Busy, LeaseLost, acquire, acquire_all, lease_folder

HOLDER = """
import sys
from pathlib import Path
from pytest_bench.leases import acquire
scope, resource, folder = sys.argv[1:]
with acquire(scope, resource, nonce="n-other", point="s/perf/other", folder=Path(folder)):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNTER = """
import sys
from pathlib import Path
from pytest_bench.leases import acquire
folder = Path(sys.argv[1])
for _ in range(20):
    with acquire("host", "h", nonce="n", point="p", folder=folder):
        count = int((folder / "count").read_text())
        (folder / "count").write_text(str(count + 1))
"""

URL = "http://h:8000"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "leases"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def hold_elsewhere(folder):
    """Start a process that holds a lease until its stdin ends."""
    processes = []

    def start(scope, resource):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, scope, resource, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


def open_descriptors():
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def take(folder, scope="endpoint", resource=URL, **options):
    return acquire(scope, resource, **{"nonce": "n", "point": "s/perf/p", "folder": folder, **options})


def test_a_lease_records_when_it_was_held(folder):
    before = clock.monotonic_ns()
    with take(folder) as lease:
        assert (lease.scope, lease.resource, lease.boot_id) == ("endpoint", URL, clock.boot_id())
        assert lease.end_ns is None
    assert before <= lease.start_ns <= lease.end_ns <= clock.monotonic_ns()


def test_a_lease_ends_with_a_failing_block(folder):
    with pytest.raises(KeyError), take(folder) as lease:
        raise KeyError
    assert lease.end_ns is not None
    with take(folder, wait=False):
        pass


def test_what_another_process_holds_is_busy_and_names_the_holder(folder, hold_elsewhere):
    process = hold_elsewhere("endpoint", URL)
    with (
        pytest.raises(Busy, match=f"endpoint {URL} is in use by s/perf/other of session n-other") as busy,
        take(folder, wait=False),
    ):
        pass
    assert f"pid {process.pid}" in str(busy.value)


def test_another_endpoint_is_free(folder, hold_elsewhere):
    hold_elsewhere("endpoint", URL)
    with take(folder, resource="http://h:8001", wait=False):
        pass


def test_all_names_of_the_host_share_one_lease(folder, hold_elsewhere):
    hold_elsewhere("host", "node-0")
    with pytest.raises(Busy), take(folder, "host", "container-7f3a", wait=False):
        pass


def test_an_endpoint_and_the_host_are_held_apart(folder, hold_elsewhere):
    hold_elsewhere("host", "node-0")
    with take(folder, wait=False):
        pass


def test_a_waiter_gets_the_holder_and_continues_when_the_lease_is_released(folder, hold_elsewhere):
    process = hold_elsewhere("endpoint", URL)
    told = []

    def on_wait(sentence):
        told.append(sentence)
        process.stdin.close()

    with take(folder, on_wait=on_wait) as lease:
        assert lease.start_ns
    assert len(told) == 1
    assert "s/perf/other of session n-other" in told[0]


def test_the_kernel_gives_back_the_lease_of_a_killed_holder(folder, hold_elsewhere):
    process = hold_elsewhere("endpoint", URL)
    with take(folder, on_wait=lambda _: os.kill(process.pid, signal.SIGKILL)):
        assert process.wait(10) == -signal.SIGKILL


def test_a_waiter_that_gives_up_leaves_the_lease_alone(folder, hold_elsewhere):
    hold_elsewhere("endpoint", URL)
    descriptors = open_descriptors()

    def give_up(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), take(folder, on_wait=give_up):
        pass
    assert open_descriptors() == descriptors
    with pytest.raises(Busy), take(folder, wait=False):
        pass


def test_threads_of_one_process_exclude_each_other(folder):
    ended = []

    def other():
        with take(folder) as lease:
            ended.append(lease)

    waiter = threading.Thread(target=other)
    with take(folder) as first:
        waiter.start()
    waiter.join()
    assert ended[0].start_ns >= first.end_ns


def test_processes_never_hold_one_lease_together(folder):
    (folder / "count").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNTER, str(folder)]) for _ in range(3)]
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert (folder / "count").read_text() == "60"


def test_a_lease_file_that_a_cleaner_removed_is_made_again(folder):
    with take(folder):
        pass
    for path in folder.iterdir():
        path.unlink()
    with take(folder), pytest.raises(Busy), take(folder, wait=False):
        pass


def descriptors_on(prefix):
    """The descriptors of this process that are open on what has a name with this beginning."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            if str(entry.readlink()).startswith(str(prefix)):
                yield int(entry.name)


def test_a_lease_whose_file_a_cleaner_removed_meanwhile_was_lost(folder):
    records = []
    with (
        pytest.raises(LeaseLost, match=r"s/perf/p had ended.*endpoint-\w+\.lease"),
        take(folder, record=lambda lease: records.append((lease.end_ns is not None, lease.lost))),
    ):
        for path in folder.iterdir():
            path.unlink()
    assert records == [(False, False), (True, True)]
    with take(folder, wait=False) as again:
        pass
    assert not again.lost


def test_a_lease_whose_descriptor_was_closed_was_lost_and_the_file_that_has_its_number_is_left_alone(folder):
    other = folder.parent / "other"
    other.write_text("content")
    with pytest.raises(LeaseLost), take(folder) as lease:
        (descriptor,) = descriptors_on(folder)
        os.close(descriptor)
        reused = os.open(other, os.O_RDWR)
        assert reused == descriptor
    assert lease.lost
    assert os.pread(reused, 100, 0) == b"content"
    os.close(reused)


def test_a_lease_whose_name_was_given_up_was_lost(folder):
    before = set(descriptors_on("socket:"))
    with pytest.raises(LeaseLost), take(folder):
        (name,) = set(descriptors_on("socket:")) - before
        os.close(name)


def test_the_failure_of_a_block_is_shown_rather_than_the_loss_of_its_lease(folder):
    with pytest.raises(KeyError), take(folder) as lease:
        (descriptor,) = descriptors_on(folder)
        os.close(descriptor)
        raise KeyError
    assert lease.lost


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["endpoint", "host"]), st.sampled_from("abc")), max_size=4))
def test_several_resources_are_taken_once_each_and_in_one_order(tmp_path_factory, wanted):
    wanted = [("host", "node-0") if scope == "host" else (scope, name) for scope, name in wanted]
    folder = tmp_path_factory.mktemp("leases")
    with acquire_all(wanted, partial(take, folder, wait=False)) as leases:
        assert [(lease.scope, lease.resource) for lease in leases] == sorted(set(wanted))


def test_of_several_resources_none_is_kept_where_one_is_busy(folder, hold_elsewhere):
    hold_elsewhere("host", "node-0")
    wanted = [("host", "node-0"), ("endpoint", URL)]
    with pytest.raises(Busy), acquire_all(wanted, partial(take, folder, wait=False)):
        pass
    with take(folder, wait=False):
        pass


def test_another_user_with_other_lease_files_is_kept_out(folder, hold_elsewhere):
    """Stood in for by a session whose lease file another one has lost: only the name is left between them."""
    process = hold_elsewhere("host", "node-0")
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(Busy, match="another user or container"), take(folder, "host", "node-0", wait=False):
        pass
    told = []

    def on_wait(sentence):
        told.append(sentence)
        process.stdin.close()

    with take(folder, "host", "node-0", on_wait=on_wait):
        assert len(told) == 1


@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "/run/user/0", "TMPDIR": "/var/tmp"}])
def test_all_sessions_of_a_user_use_one_folder_in_any_environment(environ):
    found = lease_folder(environ)
    assert str(found) == f"/tmp/pytest-inference-bench-{os.geteuid()}"
    assert found.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def elsewhere(tmp_path):
    return tmp_path / "leases", {"PYTEST_BENCH_LEASES": str(tmp_path / "leases")}


def test_a_folder_that_others_may_enter_is_refused(elsewhere):
    folder, environ = elsewhere
    folder.mkdir(mode=0o755)
    with pytest.raises(BenchError, match="mode 0700"):
        lease_folder(environ)


def test_a_link_in_place_of_the_folder_is_refused(elsewhere, tmp_path):
    folder, environ = elsewhere
    (tmp_path / "target").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "target")
    with pytest.raises(BenchError, match="not be a link"):
        lease_folder(environ)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(elsewhere):
    folder, environ = elsewhere
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(BenchError, match="belong to user"):
        lease_folder(environ)
