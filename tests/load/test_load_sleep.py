"""The loop sleeps between turns so that one turn reads many streams."""

import socket
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.load import loop as loop_module
from pytest_bench.load.loop import Loop
from pytest_bench.load.receive_clock import ReceiveClock

MS, S = 10**6, 10**9


@pytest.fixture
def loop():
    made = Loop(ReceiveClock())
    yield made
    made.close()


@pytest.fixture
def slept(monkeypatch):
    """Durations of the sleeps, in seconds."""
    slept = []
    monkeypatch.setattr(loop_module.time, "sleep", slept.append)
    return slept


class Socket:
    """A receiver that counts its reads and gets a byte after each of them; after `reads` of them the loop stops."""

    def __init__(self, loop, stack, reads):
        near, self._far = map(stack.enter_context, socket.socketpair())
        near.settimeout(0)
        self.receive, self.drained_ns = near.recvmsg_into, 0
        self._loop, self._left = loop, reads
        self._far.send(b"x")
        loop.add(near.fileno(), self)

    def received(self, data, size, stamp_ns, now_ns, empty_ns):
        self._left -= 1
        if self._left <= 0:
            self._loop.stop()
        self._far.send(b"x")
        return True


def turns(loop, count, sockets):
    with ExitStack() as stack:
        for _ in range(sockets):
            Socket(loop, stack, count)
        loop.run()


def answer(loop, duration_ns, reads, times=200):
    for _ in range(times):
        loop.answered(duration_ns, reads)


def test_a_loop_with_many_slow_streams_sleeps_before_each_turn_but_the_first(loop, slept):
    answer(loop, S, 100)
    turns(loop, 5, sockets=3)
    assert slept == [0.00025] * 4


def test_a_loop_that_has_answered_nothing_does_not_sleep(loop, slept):
    turns(loop, 5, sockets=3)
    assert slept == []


def test_one_short_request_ends_the_sleeping_at_once(loop, slept):
    answer(loop, S, 100)
    loop.answered(5 * MS, 1)
    turns(loop, 5, sockets=3)
    assert slept == []


def test_a_timer_that_is_due_soon_is_not_delayed_by_a_sleep(loop, slept):
    answer(loop, S, 100)
    timer = loop.timer(lambda: timer.arm(loop_module.monotonic_ns() + MS // 4))
    timer.arm(loop_module.monotonic_ns())
    turns(loop, 5, sockets=3)
    assert slept == []


def test_deferred_work_is_not_delayed_by_a_sleep(loop, slept):
    answer(loop, S, 100)

    def again():
        loop.soon(again)

    loop.soon(again)
    turns(loop, 5, sockets=3)
    assert slept == []


@given(st.lists(st.tuples(st.integers(0, 100 * S), st.integers(1, 10_000)), min_size=1, max_size=50))
def test_a_sleep_is_at_most_a_thousandth_of_the_last_request_and_an_eighth_of_the_time_between_its_reads(
    requests,
):
    loop = Loop(ReceiveClock())
    try:
        for duration_ns, reads in requests:
            loop.answered(duration_ns, reads)
            assert loop.sleep_ns <= min(250_000, duration_ns / 1000, duration_ns / reads / 8)
    finally:
        loop.close()
