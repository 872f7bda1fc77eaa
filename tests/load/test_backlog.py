"""When a complete response is settled: in turns of the loop that had nothing else to do."""

import time
from types import SimpleNamespace

from pytest_bench.load import backlog as load_backlog
from pytest_bench.load.backlog import Backlog

BUSY_TURNS = 5


def response(name, end_ns=None):
    return SimpleNamespace(name=name, end_ns=time.monotonic_ns() if end_ns is None else end_ns)


def test_responses_are_settled_in_the_order_in_which_they_came(loop, monkeypatch):
    monkeypatch.setattr(load_backlog, "_IDLE_TURN_NS", 10**12)
    settled = []

    def settle(exchange):
        settled.append(exchange.name)
        if len(settled) == 20:
            loop.stop()

    backlog = Backlog(loop, settle)
    for number in range(20):
        backlog.add(response(number), peak_in_flight=1)
    assert settled == []
    loop.run()
    assert settled == list(range(20))


def test_turns_that_had_something_to_do_settle_nothing(loop):
    happened = []

    def settle(exchange):
        happened.append(exchange.name)
        loop.stop()

    backlog = Backlog(loop, settle)

    def busy(left):
        begun = time.monotonic()
        while time.monotonic() - begun < 0.001:
            pass
        happened.append("busy")
        if left:
            loop.soon(lambda: busy(left - 1))

    loop.soon(lambda: busy(BUSY_TURNS - 1))
    backlog.add(response("r"), peak_in_flight=1)
    loop.run()
    assert happened == ["busy"] * BUSY_TURNS + ["r"]


def test_a_response_that_has_waited_long_is_settled_though_no_turn_has_little_to_do(loop, monkeypatch):
    monkeypatch.setattr(load_backlog, "_IDLE_TURN_NS", 0)
    settled = []
    backlog = Backlog(loop, lambda exchange: settled.append(exchange.name))
    backlog.add(response("old", time.monotonic_ns() - 2 * 10**9), peak_in_flight=1)

    def turn(number):
        if number == 10:
            backlog.add(response("young", time.monotonic_ns() + 10**12), peak_in_flight=1)
        if number == 20:
            loop.stop()
        else:
            loop.soon(lambda: turn(number + 1))

    loop.soon(lambda: turn(0))
    loop.run()
    assert settled == ["old"]


def test_no_more_wait_than_were_ever_in_flight(loop, monkeypatch):
    monkeypatch.setattr(load_backlog, "_IDLE_TURN_NS", 0)
    settled = []
    backlog = Backlog(loop, lambda exchange: settled.append(exchange.name))
    for number in range(68):
        backlog.add(response(number, 10**18), peak_in_flight=64)
    loop.soon(loop.stop)
    loop.run()
    assert settled == [67, 66, 65, 64]
