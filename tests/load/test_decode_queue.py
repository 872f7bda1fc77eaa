"""Complete responses are decoded in turns of the loop that have little else to do."""

import time
from types import SimpleNamespace

import pytest_bench.load.decode_queue as module
from pytest_bench.load.decode_queue import DecodeQueue

BUSY_TURNS = 5


def response(name, end_ns=None):
    return SimpleNamespace(name=name, end_ns=time.monotonic_ns() if end_ns is None else end_ns)


def test_responses_are_decoded_in_order_of_completion(loop, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_TURN_NS", 10**12)
    decoded = []

    def decode(exchange):
        decoded.append(exchange.name)
        if len(decoded) == 20:
            loop.stop()

    waiting = DecodeQueue(loop, decode)
    for number in range(20):
        waiting.add(response(number), peak_in_flight=1)
    assert decoded == []
    loop.run()
    assert decoded == list(range(20))


def test_busy_turns_decode_nothing(loop):
    happened = []

    def decode(exchange):
        happened.append(exchange.name)
        loop.stop()

    waiting = DecodeQueue(loop, decode)

    def busy(left):
        begun = time.monotonic()
        while time.monotonic() - begun < 0.001:
            pass
        happened.append("busy")
        if left:
            loop.soon(lambda: busy(left - 1))

    loop.soon(lambda: busy(BUSY_TURNS - 1))
    waiting.add(response("r"), peak_in_flight=1)
    loop.run()
    assert happened == ["busy"] * BUSY_TURNS + ["r"]


def test_a_response_that_has_waited_long_is_decoded_although_every_turn_is_busy(loop, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_TURN_NS", 0)
    decoded = []
    waiting = DecodeQueue(loop, lambda exchange: decoded.append(exchange.name))
    waiting.add(response("old", time.monotonic_ns() - 2 * 10**9), peak_in_flight=1)

    def turn(number):
        if number == 10:
            waiting.add(response("young", time.monotonic_ns() + 10**12), peak_in_flight=1)
        if number == 20:
            loop.stop()
        else:
            loop.soon(lambda: turn(number + 1))

    loop.soon(lambda: turn(0))
    loop.run()
    assert decoded == ["old"]


def test_at_most_the_peak_in_flight_wait(loop, monkeypatch):
    monkeypatch.setattr(module, "_IDLE_TURN_NS", 0)
    decoded = []
    waiting = DecodeQueue(loop, lambda exchange: decoded.append(exchange.name))
    for number in range(68):
        waiting.add(response(number, 10**18), peak_in_flight=64)
    loop.soon(loop.stop)
    loop.run()
    assert decoded == [67, 66, 65, 64]
