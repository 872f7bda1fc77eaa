"""Ranks that meet over real sockets, in threads and in processes, and what disturbs them."""

import re
import secrets
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from rank_process import SECRET, place

from pytest_bench.cluster import proof
from pytest_bench.cluster.endpoint import meet
from pytest_bench.cluster.frames import Challenge, Decoder, Go, Ready, Welcome, encode
from pytest_bench.cluster.rendezvous import BarrierAborted, BarrierTimeout, RendezvousError

PROCESS = Path(__file__).parent / "rank_process.py"


@pytest.fixture
def job():
    return secrets.token_hex(8)


def together(job, *ranks, size=None, **options):
    """Run a function for each rank at the same time; return what each returned or raised."""

    def one(rank, body):
        with meet(place(rank, size or len(ranks), job), SECRET, **{"join_s": 30, **options}) as rendezvous:
            return body(rendezvous)

    with ThreadPoolExecutor(len(ranks)) as pool:
        futures = [pool.submit(one, rank, body) for rank, body in enumerate(ranks)]
        return [future.exception() or future.result() for future in futures]


@contextmanager
def rank_0(job, size=2, **options):
    with meet(place(0, size, job), SECRET, **{"join_s": 30, **options}) as rendezvous:
        yield rendezvous


def port_of(job):
    """The port at which rank 0 of a job listens, found as another rank finds it."""
    for port in place(1, 2, job).ports:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                (asked,) = Decoder().feed(sock.recv(4096))
        except OSError:
            continue
        if isinstance(asked, Challenge) and asked.job == job:
            return port
    raise AssertionError("rank 0 does not listen")


def test_all_ranks_pass_their_barriers_and_get_the_payload_of_the_lowest(job):
    def body(rendezvous):
        rendezvous.phase("building")
        first = rendezvous.barrier(
            "published", timeout_s=60, payload="sha256:a" if rendezvous.rank == 0 else None
        )
        rendezvous.barrier("loaded", timeout_s=60, identity="sha256:a")
        return first

    assert together(job, body, body, body, body) == ["sha256:a"] * 4


def test_a_rank_that_holds_another_image_ends_all_and_is_named(job):
    def body(rendezvous):
        own = "sha256:b" if rendezvous.rank == 2 else "sha256:a"
        rendezvous.barrier("loaded", timeout_s=60, identity=own)
        rendezvous.barrier("started", timeout_s=60)

    found = together(job, body, body, body)
    assert [type(error) for error in found] == [BarrierAborted, BarrierAborted, RendezvousError]
    assert "rank 2 (n2)" in str(found[0])
    assert "this rank has sha256:b, but sha256:a was agreed on" in str(found[1])


@pytest.mark.parametrize("failing", [0, 1])
def test_an_exception_on_one_rank_ends_the_others_with_its_name_and_phase(job, failing):
    def body(rendezvous):
        rendezvous.phase("loading")
        rendezvous.barrier("begun", timeout_s=60)
        if rendezvous.rank == failing:
            raise OSError("no space left on device")
        rendezvous.barrier("loaded", timeout_s=600)

    found = together(job, body, body, body)
    assert type(found[failing]) is OSError
    for rank in {0, 1, 2} - {failing}:
        assert str(found[rank]) == (
            f"stopped because of rank {failing} (n{failing}), which failed while loading: OSError: no space left on "
            "device"
        )


def test_a_timeout_is_raised_on_every_rank_that_came_and_says_what_the_other_does(job):
    def waits(rendezvous):
        rendezvous.barrier("begun", timeout_s=60)
        rendezvous.barrier("loaded", timeout_s=3)

    def is_late(rendezvous):
        rendezvous.phase("loading")
        rendezvous.barrier("begun", timeout_s=60)
        rendezvous.wait_for_failure(60)
        rendezvous.check()

    found = together(job, waits, is_late, waits)
    assert [type(error) for error in found] == [BarrierTimeout] * 3
    (told,) = {str(error) for error in found}
    assert re.fullmatch(r"loaded 2/3; rank 1 \(n1\) loading for \d+ s", told)


def test_a_rank_that_never_comes_is_named_when_the_time_to_join_is_over(job):
    with (
        pytest.raises(BarrierTimeout, match="join 1/2; rank 1 never connected"),
        rank_0(job, join_s=0.3) as alone,
    ):
        alone.barrier("begun", timeout_s=60)


def test_without_rank_0_a_rank_says_where_it_looked(job):
    with (
        pytest.raises(BarrierTimeout, match=r"rank 1 \(n1\) did not reach rank 0 at 127.0.0.1 within 0.3 s"),
        meet(place(1, 2, job), SECRET, join_s=0.3),
    ):
        pass


def test_a_rank_with_another_secret_is_refused_and_counted(job):
    with (
        pytest.raises(BarrierTimeout, match="rank 1 never connected; 1 connections were refused"),
        rank_0(job, join_s=3) as first,
    ):
        with (
            pytest.raises(RendezvousError, match="do not know the same secret") as error,
            meet(place(1, 2, job), bytes(32), join_s=30),
        ):
            pass
        assert bytes(32).hex() not in str(error.value)
        first.barrier("begun", timeout_s=60)


def test_a_server_that_does_not_know_the_secret_is_refused(job):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        ports = (listener.getsockname()[1],)

        def impostor():
            sock, _ = listener.accept()
            with sock:
                sock.sendall(encode(proof.challenge(job, "n0")))
                (answer,) = Decoder().feed(sock.recv(4096))
                sock.sendall(encode(Welcome(proof=answer.proof)))
                sock.recv(1)

        told = pool.submit(impostor)
        with (
            pytest.raises(RendezvousError, match="do not know the same secret"),
            meet(place(1, 2, job, ports), SECRET, join_s=30),
        ):
            pass
        told.result()


def test_strangers_do_not_end_the_rendezvous(job):
    def meets(rendezvous):
        rendezvous.barrier("end", timeout_s=60)
        return "met"

    with ThreadPoolExecutor() as pool, rank_0(job) as first:
        port = port_of(job)
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for number, sock in enumerate(strangers[:60]):
            sock.sendall(
                [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x02{}", encode(Ready(name="end", timeout_s=1))][
                    number % 3
                ]
            )
        other = pool.submit(lambda: enter(job, meets))
        assert meets(first) == other.result() == "met"
        for sock in strangers:
            sock.close()


def enter(job, body, rank=1, size=2, **changes):
    with meet(place(rank, size, job, **changes), SECRET, join_s=30) as rendezvous:
        return body(rendezvous)


def test_frames_that_arrive_one_byte_at_a_time_are_understood(job):
    with (
        rank_0(job) as first,
        ThreadPoolExecutor() as pool,
        socket.create_connection(("127.0.0.1", port_of(job))) as sock,
    ):
        decoder, pending = Decoder(), []

        def receive():
            while not pending:
                pending.extend(decoder.feed(sock.recv(1)))
            return pending.pop(0)

        asked = receive()
        answer = proof.hello(SECRET, asked, 1, 2, "n1")
        for frame in (answer, Ready(name="end", timeout_s=60)):
            for byte in encode(frame):
                sock.sendall(bytes([byte]))
        waiting = pool.submit(first.barrier, "end", timeout_s=60)
        assert proof.is_welcome(SECRET, asked, answer, receive())
        assert receive() == Go(name="end")
        waiting.result()


def test_a_port_of_another_job_is_passed_over(job):
    ports = place(0, 2, job).ports[:2]
    other = secrets.token_hex(8)

    def body(rendezvous):
        return rendezvous.barrier("end", timeout_s=60, payload=f"of {rendezvous.rank}")

    with (
        meet(place(0, 2, other, ports), SECRET, join_s=30),
        meet(place(0, 2, job, ports), SECRET) as first,
        ThreadPoolExecutor() as pool,
    ):
        second = pool.submit(lambda: enter(job, body, ports=ports))
        assert body(first) == second.result() == "of 0"


def test_two_processes_with_one_rank_end_the_job_and_both_hosts_are_named(job):
    def waits(rendezvous):
        rendezvous.barrier("end", timeout_s=60)

    with ThreadPoolExecutor() as pool, pytest.raises(BarrierAborted) as error, rank_0(job, size=3) as first:
        futures = [pool.submit(lambda host=host: enter(job, waits, 1, 3, host=host)) for host in ("n1", "n2")]
        first.barrier("end", timeout_s=60)
    assert "rank 1 joined twice, from n" in str(error.value)
    assert all(name in str(error.value) for name in ("n1", "n2"))
    assert all(isinstance(future.exception(), RendezvousError) for future in futures)


def test_ranks_that_expect_another_number_of_nodes_end_the_job(job):
    with (
        pytest.raises(BarrierAborted, match=r"is rank 1 of 5, but rank 0 \(n0\) expects 2 ranks"),
        rank_0(job) as first,
        ThreadPoolExecutor() as pool,
    ):
        pool.submit(lambda: enter(job, lambda r: r.barrier("end", timeout_s=60), 1, 5))
        first.barrier("end", timeout_s=60)


def test_a_barrier_is_used_once_and_the_error_says_so(job):
    with meet(place(0, 1, job), SECRET) as alone:
        assert alone.barrier("end", timeout_s=1, payload="x") == "x"
        with pytest.raises(RendezvousError, match="'end' was used before"):
            alone.barrier("end", timeout_s=1)


def test_rank_0_may_leave_first_and_only_a_rank_that_still_needs_it_fails(job):
    def leaves(rendezvous):
        rendezvous.barrier("begun", timeout_s=60)

    def goes_on(rendezvous):
        rendezvous.barrier("begun", timeout_s=60)
        rendezvous.barrier("more", timeout_s=60)

    found = together(job, leaves, leaves, goes_on)
    assert found[:2] == [None, None]
    assert "ended without coming to the barrier 'more'" in str(found[2])


@contextmanager
def process(rank, size, job):
    command = [sys.executable, PROCESS, str(rank), str(size), job]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as own:
        try:
            yield own
        finally:
            own.kill()


def test_a_worker_that_is_killed_ends_the_others_at_once_with_its_name_and_phase(job):
    with pytest.raises(BarrierAborted) as error, rank_0(job) as first, process(1, 2, job) as worker:
        assert worker.stdout.readline() == "building\n"
        worker.send_signal(signal.SIGKILL)
        first.barrier("end", timeout_s=600)
    assert str(error.value).startswith(
        "stopped because of rank 1 (n1), which failed while building: its process ended"
    )


def test_a_killed_rank_0_ends_the_others_at_once(job):
    with process(0, 2, job) as first:
        assert first.stdout.readline() == "building\n"

        def waits(rendezvous):
            first.send_signal(signal.SIGKILL)
            rendezvous.barrier("end", timeout_s=600)

        with pytest.raises(BarrierAborted, match=r"because of rank 0 \(n0\)"):
            enter(job, waits)


def test_a_worker_that_hangs_is_named_after_three_missed_heartbeats(job):
    with (
        pytest.raises(BarrierAborted) as error,
        rank_0(job, heartbeat_s=0.5) as first,
        process(1, 2, job) as worker,
    ):
        assert worker.stdout.readline() == "building\n"
        worker.send_signal(signal.SIGSTOP)
        first.barrier("end", timeout_s=600)
    assert "rank 1 (n1), which failed while building: no heartbeat for" in str(error.value)
