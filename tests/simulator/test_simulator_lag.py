"""The simulator reports at /metrics how late its own event loop was while it was busy."""

import asyncio
import time

from wire_client import until

from pytest_bench.endpoints.scrape import parse_metrics
from pytest_bench.simulator.lag import LIMITS_MS, SERIES, LoopLag, bucket

CHECKS = f"{SERIES}_count"


def counted(lag):
    return parse_metrics("\n".join(lag.lines()).encode())


class Watched:
    """The lag of a loop that is busy for a given number of checks."""

    def __init__(self, busy_for):
        self.lag = LoopLag(self._busy)
        self.idle = asyncio.Event()
        self._left = busy_for

    def _busy(self):
        self._left -= 1
        if self._left < 0:
            self.idle.set()
        return self._left >= 0


def test_a_blocked_loop_is_late_at_every_check_that_it_missed():
    async def hold_up():
        watched = Watched(0)
        watched.lag.note_request()
        time.sleep(0.085)  # noqa: ASYNC251 # what is tested
        await watched.idle.wait()
        return counted(watched.lag)

    told = asyncio.run(hold_up())
    assert told[CHECKS] >= 8
    assert told[CHECKS] - told[bucket(50)] >= 2
    assert told[f"{SERIES}_sum"] >= 0.075 + 0.065 + 0.055 + 0.045 + 0.035 + 0.025 + 0.015 + 0.005


def test_buckets_are_cumulative_as_in_prometheus():
    async def some():
        watched = Watched(5)
        watched.lag.note_request()
        await watched.idle.wait()
        return counted(watched.lag)

    told = asyncio.run(some())
    counts = [told[bucket(limit)] for limit in LIMITS_MS]
    assert counts == sorted(counts)
    assert counts[-1] <= told[f'{SERIES}_bucket{{le="+Inf"}}'] == told[CHECKS]


def test_an_idle_loop_is_not_checked():
    async def idle():
        watched = Watched(3)
        assert counted(watched.lag)[CHECKS] == 0
        watched.lag.note_request()
        await watched.idle.wait()
        seen = counted(watched.lag)[CHECKS]
        await asyncio.sleep(0.03)  # three checks, if there were any
        assert counted(watched.lag)[CHECKS] == seen >= 5
        watched.idle.clear()
        watched.lag.note_request()
        await watched.idle.wait()
        assert counted(watched.lag)[CHECKS] > seen

    asyncio.run(idle())


def test_a_simulator_reports_its_lag_while_it_answers(simulate):
    client = simulate(ttft_ms=100.0)
    before = client.metrics()[CHECKS]
    client.chat("x")
    until(lambda: client.metrics()[CHECKS] >= before + 5)
