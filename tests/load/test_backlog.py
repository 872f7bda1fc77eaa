"""When a complete response is settled: in turns of the event loop that had nothing else to do."""

import asyncio
import time

from pytest_bench.load import backlog as load_backlog
from pytest_bench.load.backlog import Backlog

BUSY_TURNS = 5


def test_responses_are_settled_in_the_order_in_which_they_came():
    settled = []

    async def run():
        all_settled = asyncio.Event()

        def settle(exchange, end_ns):
            settled.append((exchange, end_ns))
            if len(settled) == 20:
                all_settled.set()

        backlog = Backlog(asyncio.get_running_loop(), settle)
        assert not any(backlog.add(f"r{number}", number, peak_in_flight=1) for number in range(20))
        assert settled == []
        await all_settled.wait()

    asyncio.run(run())
    assert settled == [(f"r{number}", number) for number in range(20)]


def test_turns_that_had_something_to_do_settle_nothing():
    happened = []

    async def run():
        loop = asyncio.get_running_loop()
        settled = asyncio.Event()

        def settle(exchange, _):
            happened.append(exchange)
            settled.set()

        backlog = Backlog(loop, settle)

        def busy(left):
            begun = time.monotonic()
            while time.monotonic() - begun < 0.001:
                pass
            happened.append("busy")
            if left:
                loop.call_soon(busy, left - 1)

        loop.call_soon(busy, BUSY_TURNS - 1)
        backlog.add("r", time.monotonic_ns(), peak_in_flight=1)
        await settled.wait()

    asyncio.run(run())
    assert happened == ["busy"] * BUSY_TURNS + ["r"]


def test_what_is_old_is_settled_though_no_turn_ever_has_little_to_do(monkeypatch):
    monkeypatch.setattr(load_backlog, "_IDLE_TURN_NS", 0)
    settled = []

    async def run():
        backlog = Backlog(asyncio.get_running_loop(), lambda exchange, _: settled.append(exchange))
        now_ns = time.monotonic_ns()
        backlog.add("old", now_ns - 2 * 10**9, peak_in_flight=1)
        for _ in range(3):
            await asyncio.sleep(0)
        backlog.add("young", now_ns + 10**12, peak_in_flight=1)
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert settled == ["old"]


def test_where_more_wait_than_ever_were_in_flight_room_is_made_with_what_came_last():
    settled = []

    async def run():
        backlog = Backlog(asyncio.get_running_loop(), lambda exchange, _: settled.append(exchange))
        full = [backlog.add(number, 0, peak_in_flight=64) for number in range(68)]
        backlog.make_room()
        return full, settled.copy()

    assert asyncio.run(run()) == ([False] * 67 + [True], [67, 66, 65, 64])
