"""The simulator says how late it is itself: at /metrics, of the time in which it had something to do."""

import asyncio
import time

from wire_client import until

from pytest_bench.endpoints.scrape import parse_metrics
from pytest_bench.simulator.lag import LIMITS_MS, SERIES, LoopLag, bucket

LOOKS = f"{SERIES}_count"


def counted(lag):
    return parse_metrics("\n".join(lag.lines()).encode())


class Watched:
    """A loop's lag, and after each look whether there is still something to do: as often as told."""

    def __init__(self, busy_for):
        self.lag = LoopLag(self._busy)
        self.idle = asyncio.Event()
        self._left = busy_for

    def _busy(self):
        self._left -= 1
        if self._left < 0:
            self.idle.set()
        return self._left >= 0


def test_a_loop_that_was_held_up_is_late_at_every_look_that_it_missed():
    async def hold_up():
        watched = Watched(0)
        watched.lag.stir()
        time.sleep(0.085)  # noqa: ASYNC251 # what is tested
        await watched.idle.wait()
        return counted(watched.lag)

    told = asyncio.run(hold_up())
    assert told[LOOKS] >= 8
    assert told[LOOKS] - told[bucket(50)] >= 2
    assert told[f"{SERIES}_sum"] >= 0.075 + 0.065 + 0.055 + 0.045 + 0.035 + 0.025 + 0.015 + 0.005


def test_buckets_are_cumulated_as_prometheus_has_them():
    async def some():
        watched = Watched(5)
        watched.lag.stir()
        await watched.idle.wait()
        return counted(watched.lag)

    told = asyncio.run(some())
    counts = [told[bucket(limit)] for limit in LIMITS_MS]
    assert counts == sorted(counts)
    assert counts[-1] <= told[f'{SERIES}_bucket{{le="+Inf"}}'] == told[LOOKS]


def test_who_has_nothing_to_do_does_not_look():
    async def idle():
        watched = Watched(3)
        assert counted(watched.lag)[LOOKS] == 0
        watched.lag.stir()
        await watched.idle.wait()
        seen = counted(watched.lag)[LOOKS]
        await asyncio.sleep(0.03)  # three looks, had there been any
        assert counted(watched.lag)[LOOKS] == seen >= 5
        watched.idle.clear()
        watched.lag.stir()
        await watched.idle.wait()
        assert counted(watched.lag)[LOOKS] > seen

    asyncio.run(idle())


def test_a_simulator_tells_its_lag_while_it_answers(simulate):
    client = simulate(ttft_ms=100.0)
    before = client.metrics()[LOOKS]
    client.chat("x")
    until(lambda: client.metrics()[LOOKS] >= before + 5)
