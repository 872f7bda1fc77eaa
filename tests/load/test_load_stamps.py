"""Client stamps against the server's, on one clock.

A server on the same machine knows when it began and ended each write. In between, the kernel had the bytes: so a stamp
is checked against both, however busy the machine is.
"""

import os
import signal
import socket
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from driving import in_thread, truth_of, until, workers_of
from wire_server import BODY, CHUNKED, EVENTS, HEAD, chunk

from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.load.connecting import ConnectAttempt
from pytest_bench.load.exchange import Exchange
from pytest_bench.load.moments import Reads
from pytest_bench.load.receive_clock import ReceiveClock
from pytest_bench.records import Moments
from pytest_bench.workload import Load

MS = 10**6
ONE_BY_ONE = Load(pattern="concurrency", concurrency=1, requests=3)


class Timed:
    """A stream of which every write is timed, by request id."""

    def __init__(self, *, pause_s=0.0, stopped=False):
        self._writes = {}
        self.resumed_ns = {}
        self._pause_s, self._stopped = pause_s, stopped

    def __call__(self, turn):
        """Answer a request. With `stopped`, the load worker is stopped meanwhile."""
        pid = workers_of(os.getpid())[0]
        if self._stopped:
            os.kill(pid, signal.SIGSTOP)
            until(lambda: state(pid) == "T")
        writes = [self._timed(turn, piece) for piece in (CHUNKED, *map(chunk, EVENTS), b"0\r\n\r\n")]
        self.resumed_ns[turn.header("x-request-id")] = time.monotonic_ns()
        self._writes[turn.header("x-request-id")] = writes
        if self._stopped:
            os.kill(pid, signal.SIGCONT)

    def writes(self, record):
        """When the writes of a response began and ended; the server may know later than the client has it."""
        until(lambda: record.request_id in self._writes)
        return self._writes[record.request_id]

    def _timed(self, turn, piece):
        begun_ns = time.monotonic_ns()
        turn.write(piece)
        ended_ns = time.monotonic_ns()
        time.sleep(self._pause_s)
        return begun_ns, ended_ns


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def holds(write, at_ns, uncertainty_ns):
    """Whether an event that was written then may have arrived when the client says."""
    begun_ns, ended_ns = write
    return at_ns >= begun_ns and at_ns - uncertainty_ns <= ended_ns


@pytest.mark.parametrize("pause_s", [0.0, 0.02])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_content_is_stamped_within_the_servers_write_of_it_as_far_as_the_record_says(
    wire, drive, pause_s, encrypted, trusted_tls
):
    answer = Timed(pause_s=pause_s)
    server = wire(answer, tls=trusted_tls if encrypted else None)
    run = drive(server.url.replace("127.0.0.1", "localhost"), ONE_BY_ONE)
    assert run.errors() == {None: 3}
    for record in run.records():
        _, *contents, _, _ = answer.writes(record)
        may_be = record.uncertainty_ns or Moments()
        assert holds(contents[0], record.first_content_ns, may_be.first_content)
        assert holds(contents[-1], record.last_content_ns, may_be.last_content)
        assert record.seen_after_ns.first_content > 0
    assert run.result.health.user_stamped_reads == 0


def test_a_load_worker_that_was_stopped_records_how_much_later_than_the_kernel_it_read(wire, drive):
    answer = Timed(stopped=True)
    run = drive(wire(answer).url, ONE_BY_ONE, workers=1)
    assert run.errors() == {None: 3}
    for record in run.records():
        head, *contents, _, end = answer.writes(record)
        # Everything came with one read, and the kernel keeps the stamp of the last of it.
        assert record.first_content_ns == record.last_content_ns == record.end_ns
        assert holds(end, record.end_ns, 0)
        assert record.end_ns + record.seen_after_ns.end >= answer.resumed_ns[record.request_id]
        assert holds(contents[0], record.first_content_ns, record.uncertainty_ns.first_content)
        assert record.uncertainty_ns.first_content >= end[0] - contents[0][1]
        assert record.first_byte_ns - record.uncertainty_ns.first_byte <= head[1]
        assert record.content_gaps_ns == (0, 0)


def test_an_event_that_a_late_client_kept_the_sender_from_sending_may_have_been_earlier(wire, drive):
    """The receive window is full while the load worker is stopped: the last event leaves after its next read."""
    written, large = {}, chunk(b'data: {"choices":[{"delta":{"content":"' + b"x" * 60_000 + b'"}}]}\n\n')

    def answer(turn):
        (pid,) = workers_of(os.getpid())
        turn.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        turn.write(CHUNKED)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T")
        for piece in (large, large, large, *map(chunk, EVENTS[:-1])):
            begun_ns = time.monotonic_ns()
            turn.write(piece)
        turn.write(chunk(EVENTS[-1]) + b"0\r\n\r\n")
        written[turn.header("x-request-id")] = begun_ns, time.monotonic_ns()
        time.sleep(0.1)
        os.kill(pid, signal.SIGCONT)

    run = drive(wire(answer).url, ONE_BY_ONE, workers=1)
    assert run.errors() == {None: 3}
    late = 0
    for record in run.records():
        until(lambda record=record: record.request_id in written)
        write = written[record.request_id]
        assert holds(write, record.last_content_ns, record.uncertainty_ns.last_content)
        late += record.last_content_ns > write[1] + 100 * MS
    assert late, "the sender never had to wait"


def test_a_turnaround_counts_from_the_kernels_stamp_and_not_from_when_the_client_saw_it(wire, drive):
    answer = Timed(stopped=True)
    run = drive(wire(answer).url, ONE_BY_ONE, workers=1)
    first, second, third = run.records()
    turnarounds = [second.send_start_ns - first.end_ns, third.send_start_ns - second.end_ns]
    latencies = [record.end_ns - record.send_start_ns for record in (first, second, third)]
    assert min(turnarounds) >= min(
        answer.resumed_ns[record.request_id] - record.end_ns for record in (first, second)
    )
    vacancy = sum(turnarounds) / (sum(turnarounds) + sum(latencies))
    assert run.result.health.vacancy == pytest.approx(vacancy)
    assert run.result.health.turnaround_ms.max == pytest.approx(max(turnarounds) / MS)


def test_the_end_of_a_connection_has_no_stamp_of_the_kernels(wire, drive):
    def answer(turn):
        turn.write(HEAD + b"\r\n" + b"".join(EVENTS))
        turn.close()

    run = drive(wire(answer).url, ONE_BY_ONE)
    assert run.errors() == {None: 3}
    for record in run.records():
        assert record.seen_after_ns.end == 0
        assert record.seen_after_ns.first_content > 0
        assert record.end_ns - record.uncertainty_ns.end <= record.end_ns
    assert run.result.health.user_stamped_reads == 3


class WithoutStamps(ReceiveClock):
    """As on a system whose kernel does not stamp what arrives."""

    def enable(self, receiver):
        pass


@pytest.mark.parametrize("clock", [ReceiveClock, WithoutStamps])
def test_a_read_without_a_stamp_is_stamped_by_the_client(loop, clock):
    loop.clock.close()
    loop.clock = clock()
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"GET\r\n")
    ended = []

    class Owner:
        def completed(self, connection, exchange):
            ended.append(exchange)
            connection.discard()
            loop.stop()

    def opened(connection):
        connection.send(exchange)
        accepted, _ = listener.accept()
        accepted.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY)
        accepted.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = resolve(parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}"), "/")
        ConnectAttempt(Owner(), loop, target, 0, tls=None, limit_bytes=10**6, opened=opened)
        loop.run()
    assert ended == [exchange]
    lags_ns = Reads(exchange.reads, sent_ns=0).lags_ns
    assert [lag > 0 for lag in lags_ns] == [clock is ReceiveClock] * len(lags_ns)


def test_a_step_of_the_clock_is_noticed_and_says_since_when_stamps_are_void(loop):
    clock = loop.clock
    assert clock.sample() is None
    until(clock.agrees)  # two readings that are torn apart by the machine do not
    known_ns, offset_ns = clock.sampled_ns, clock.offset_ns
    clock.offset_ns += 500 * MS  # as if CLOCK_REALTIME had been set back by as much
    assert not clock.agrees()
    assert clock.sample() == known_ns
    assert clock.steps == 1
    assert abs(clock.offset_ns - offset_ns) < MS


# Beside the simulator's own account.


def compared(simulator, drive, load, *, workers=1, max_tokens=20, **knobs):
    """Pairs of request record and ground truth."""
    run = drive(simulator.url, load, workers=workers, max_tokens=max_tokens, knobs=knobs)
    seen = {record.request_id: record for record in truth_of(simulator, run).records}
    assert run.errors() == {None: run.result.issued}
    return [(record, seen[record.request_id]) for record in run.records()]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_content_is_stamped_before_the_server_wrote_it(simulator, drive, workers):
    load = Load(pattern="concurrency", concurrency=16, requests=64)
    for record, truth in compared(simulator, drive, load, workers=workers, ttft_ms=20, itl_ms=4):
        may_be = record.uncertainty_ns or Moments()
        assert record.first_content_ns >= truth.first_content_ns
        assert record.last_content_ns >= truth.last_content_ns
        # The first had arrived before the last was written.
        assert record.first_content_ns - may_be.first_content <= truth.last_content_ns


def test_a_request_leaves_before_the_server_reads_it(simulator, drive):
    for record, truth in compared(
        simulator, drive, Load(pattern="poisson", rate=300.0, requests=60), ttft_ms=5
    ):
        assert record.send_start_ns < truth.last_request_byte_ns
        assert record.scheduled_ns <= record.send_start_ns <= record.request_sent_ns


def test_gaps_between_tokens_add_up_to_the_time_from_the_first_to_the_last(simulator, drive):
    load = Load(pattern="concurrency", concurrency=8, requests=16)
    for record, truth in compared(simulator, drive, load, ttft_ms=10, itl_ms=5, max_tokens=30):
        assert record.content_event_count == truth.tokens == 30
        assert len(record.content_gaps_ns) == 29
        assert sum(record.content_gaps_ns) == record.last_content_ns - record.first_content_ns


def test_events_that_share_a_packet_share_a_stamp(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    pairs = compared(simulator, drive, load, ttft_ms=5, itl_ms=10, max_tokens=13, coalesce=4)
    for record, _ in pairs:
        within_a_packet = [gap for place, gap in enumerate(record.content_gaps_ns) if place % 4 != 3]
        assert within_a_packet == [0] * 9


def test_reasoning_is_a_first_token_but_no_first_output(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    pairs = compared(simulator, drive, load, ttft_ms=10, itl_ms=10, max_tokens=8, reasoning_tokens=3)
    for record, _ in pairs:
        assert record.first_output_ns == record.first_content_ns + sum(record.content_gaps_ns[:3])


def test_a_role_without_text_is_not_a_first_token(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=4)
    for record, _ in compared(simulator, drive, load, ttft_ms=60):
        may_be = record.uncertainty_ns or Moments()
        assert record.first_content_ns - record.send_start_ns >= 59 * MS
        assert record.first_byte_ns - may_be.first_byte <= record.first_content_ns - 50 * MS


def test_torn_packets_stamp_an_event_with_its_last_byte(simulator, drive):
    load = Load(pattern="concurrency", concurrency=2, requests=6)
    for record, truth in compared(simulator, drive, load, ttft_ms=10, itl_ms=8, max_tokens=6, fault="split"):
        assert record.first_content_ns >= truth.first_content_ns


def test_a_server_that_stops_shows_in_times_counted_from_the_schedule(simulate, drive):
    """Coordinated omission: arrivals go on while the server does nothing, and their wait is counted."""
    server = simulate()
    stopped, threads = [], []

    def stand_still():
        os.kill(server.pid, signal.SIGSTOP)
        until(lambda: state(server.pid) == "T")
        stopped.append(time.monotonic_ns())
        time.sleep(0.5)
        stopped.append(time.monotonic_ns())
        os.kill(server.pid, signal.SIGCONT)

    def begin(progress):
        if progress.issued > 20 and not threads:
            threads.append(in_thread(stand_still))

    load = Load(pattern="constant", rate=100.0, requests=400)
    run = drive(server.url, load, on_progress=begin)
    threads[0].join()
    assert set(run.errors()) == {None}
    stopped_ns, resumed_ns = stopped
    waited = [record for record in run.records() if stopped_ns < record.scheduled_ns < resumed_ns]
    assert len(waited) > 20
    assert all(record.first_content_ns > resumed_ns for record in waited)
    assert all(
        earlier.scheduled_ns < later.scheduled_ns
        for earlier, later in pairwise(sorted(waited, key=lambda record: record.index))
    )


def test_a_record_is_read_back_with_its_moments():
    moments = Moments(first_byte=1, end=2)
    assert msgspec.json.decode(msgspec.json.encode(moments), type=Moments) == moments
