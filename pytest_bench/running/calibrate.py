"""Measures the capacity of this machine as a client: the engine against the simulator, under increasing load."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pytest_bench import clock, simulator
from pytest_bench.api import Generation
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.load import bodies, engine
from pytest_bench.load.log import read_records
from pytest_bench.records import ClientHealth, PhaseResult, Quantiles, RequestRecord
from pytest_bench.running.capacity import STREAM_EVENTS_PER_S, Capacity, Limit, this_machine
from pytest_bench.scratch import scratch_folder
from pytest_bench.workload import HealthBudget, Load, PhaseSpec, RunSpec, SampleOrder, Timeouts

FIRST_STREAMS, MOST_STREAMS = 32, 8_192
FIRST_RATE, MOST_RATE = 250, 64_000
SECONDS = 2.0

_TTFT_MS = 50.0
_EVENTS = 64
_SAMPLES = 64
_ITL_MS = 1000 / STREAM_EVENTS_PER_S
_REFINEMENTS = 2

_LEAST_DELIVERED = 0.97
"""Lower bound on the share of the requested events or requests that the simulator delivers."""
_LATEST_FIRST, _LATEST_FIRST_MS = 1.5, 20.0
"""Upper bounds on the time to first token: as a multiple of the requested one, or as an addition to it."""
_PACES = 0.9, 1.1
"""Bounds on the gap between events, as a multiple of the requested one. An overloaded simulator sends bursts."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What the simulator delivered in one step."""

    unit: str
    asked: float
    delivered: float
    ttft_ms: float
    """Median time to first token."""
    asked_ttft_ms: float
    """The requested time to first token."""
    pace: float | None = None
    """Median over requests of the mean gap between events, as a multiple of the requested one."""

    @property
    def rate(self) -> str:
        return f"{_short(self.delivered)} of {_short(self.asked)} {self.unit}"

    def shortfalls(self) -> Iterator[str]:
        """Yield a text for each requested property that the simulator did not have."""
        if self.delivered < _LEAST_DELIVERED * self.asked:
            yield self.rate
        asked_ms = self.asked_ttft_ms
        if self.ttft_ms > max(_LATEST_FIRST * asked_ms, asked_ms + _LATEST_FIRST_MS):
            yield f"first tokens after {self.ttft_ms:,.0f} ms instead of {asked_ms:g} ms"
        if self.pace is not None and not _PACES[0] <= self.pace <= _PACES[1]:
            yield f"events {self.pace * _ITL_MS:.1f} ms apart instead of {_ITL_MS:g} ms"


def calibrate(
    say: Say,
    *,
    seconds: float = SECONDS,
    streams: tuple[int, int] = (FIRST_STREAMS, MOST_STREAMS),
    rates: tuple[int, int] = (FIRST_RATE, MOST_RATE),
) -> Capacity:
    """Find the largest number of streams and the highest rate within the given ranges.

    `say` is called with a sentence about each step, which lasts `seconds`. Raises `LoadError` if the engine fails, and
    `EndpointError` if a simulator does not start.
    """
    machine = this_machine()
    with scratch_folder() as scratch, ExitStack() as stack:
        paced = simulator.Behaviour(ttft_ms=_TTFT_MS, ttft_distribution="uniform", itl_ms=_ITL_MS)
        quick = simulator.Behaviour(ttft_ms=0.0, itl_ms=0.0)
        servers = max(1, machine.cpus // 2)
        steps = _Steps(scratch, seconds, say)
        carried_streams, streams_limit = highest(
            steps.streams([stack.enter_context(simulator.start(paced)).url for _ in range(servers)]), *streams
        )
        kept = steps.health.get(carried_streams)
        steps.health.clear()
        carried_rate, rate_limit = highest(
            steps.rate([stack.enter_context(simulator.start(quick)).url for _ in range(servers)]), *rates
        )
        issued = steps.health.get(carried_rate)
    return Capacity(
        machine=machine,
        streams=carried_streams,
        streams_limit=streams_limit,
        streams_error=0.0 if kept is None or kept.vacancy is None else kept.vacancy,
        turnaround_ms=0.0 if kept is None else _p99(kept.turnaround_ms),
        rate=carried_rate,
        rate_limit=rate_limit,
        lateness_ms=0.0 if issued is None else _p99(issued.schedule_lateness_ms),
        measured_at=clock.utc_now(),
    )


def highest(attempt: Callable[[int], Limit | None], first: int, most: int) -> tuple[int, Limit]:
    """Return the highest level at which `attempt` succeeds (0 if not even `first` does), and what limits it.

    `attempt` returns the limit, or None if it succeeds. A failure is retried once, because other processes may
    interfere. The search doubles the level, then bisects a few times.
    """

    def limit_at(level: int) -> Limit | None:
        return attempt(level) and attempt(level)

    carried, level = 0, first
    while (limit := limit_at(level)) is None:
        carried = level
        if level >= most:
            return carried, "search"
        level = min(2 * level, most)
    for _ in range(_REFINEMENTS if carried else 0):
        middle = (carried + level) // 2
        found = limit_at(middle)
        if found is None:
            carried = middle
        else:
            level, limit = middle, found
    return carried, limit


class _Steps:
    """Runs the engine once for each step of a search."""

    def __init__(
        self, scratch: Path, seconds: float, say: Say, *, budget: HealthBudget | None = None
    ) -> None:
        """`budget` limits the client's share of the numbers; None: the default of every point."""
        self._scratch = scratch
        self._seconds = seconds
        self._say = say
        self._budget = budget or HealthBudget()
        self._runs = 0
        self.health: dict[int, ClientHealth] = {}
        """Health of the client at each level that succeeded."""

    def streams(self, urls: Sequence[str]) -> Callable[[int], Limit | None]:
        """Return a function that tries a number of concurrent streams."""

        def attempt(level: int) -> Limit | None:
            load = Load(pattern="concurrency", concurrency=level, duration_s=self._seconds)
            result = self._run(load, urls, max_tokens=_EVENTS)
            return self._judge(level, "streams", result, stream_delivery)

        return attempt

    def rate(self, urls: Sequence[str]) -> Callable[[int], Limit | None]:
        """Return a function that tries a number of requests per second."""

        def attempt(level: int) -> Limit | None:
            load = Load(pattern="poisson", rate=float(level), duration_s=self._seconds)
            result = self._run(load, urls, max_tokens=1)
            return self._judge(level, "requests a second", result, request_delivery)

        return attempt

    def _judge(
        self, level: int, of: str, result: PhaseResult, read: Callable[[PhaseResult], Delivery | None]
    ) -> Limit | None:
        health = result.health
        delivery = read(result)
        limit, verdict = judge_step(result, delivery)
        if limit is None:
            self.health[level] = health
        rate = "" if delivery is None or delivery.rate in verdict else f", {delivery.rate}"
        delays = {"turnaround": health.turnaround_ms, "lateness": health.schedule_lateness_ms}
        delay = "".join(f", {name} {value.p99:.3g} ms at p99" for name, value in delays.items() if value)
        self._say(
            f"{level:,} {of}: {verdict}{rate}{delay}; {health.workers} load worker{'s' if health.workers > 1 else ''}, "
            f"the busiest at {health.cpu_share:.0%} of a core"
        )
        return limit

    def _run(self, load: Load, urls: Sequence[str], *, max_tokens: int) -> PhaseResult:
        self._runs += 1
        folder = self._scratch / f"step{self._runs}"
        folder.mkdir()
        generation = Generation(
            model=simulator.Behaviour().model, stream=True, parameters={"max_tokens": max_tokens}
        )
        bodies.write(
            folder / "bodies",
            (OpenAIChat.encode({"prompt": f"sample {number}"}, generation) for number in range(_SAMPLES)),
        )
        [result] = engine.run(
            RunSpec(
                point="calibration",
                nonce=secrets.token_hex(8),
                api=f"{OpenAIChat.__module__}:{OpenAIChat.__qualname__}",
                streaming=True,
                targets=tuple(resolve(parse_url(url), OpenAIChat.path) for url in urls),
                bodies=str(folder / "bodies"),
                phases=(
                    PhaseSpec(
                        label="calibration",
                        load=load,
                        samples=SampleOrder(count=_SAMPLES, order="sequential"),
                        folder=str(folder),
                    ),
                ),
                timeouts=Timeouts(request_s=30.0, drain_s=30.0),
                budget=self._budget,
                texts="drop",
            )
        )
        return result


def judge_step(result: PhaseResult, delivery: Delivery | None) -> tuple[Limit | None, str]:
    """Return what limited a step (None if it succeeded), and a description."""
    if result.failed or result.interrupted or delivery is None:
        # Failed requests may end early, so the client's health is not meaningful.
        shortfalls = [f"{result.succeeded:,} of {result.issued:,} requests succeeded"]
    elif result.health.violations:
        why = result.health.violations[0].partition(": set ")[0]
        return "client", f"not carried: the client was the bottleneck ({why})"
    else:
        shortfalls = list(delivery.shortfalls())
    if shortfalls:
        return "simulator", f"not carried: the simulator was the bottleneck ({', '.join(shortfalls)})"
    return None, "carried"


def stream_delivery(result: PhaseResult) -> Delivery | None:
    """Events per second of a closed loop; None if no request succeeded.

    By Little's law: the requests in flight, times the events per second of a request. Requests that had to connect
    first are left out if there are enough others.
    """
    every = _succeeded(result)
    later = [record for record in every if record.connect_ns is None]
    streams = result.health.asked or 0.0
    records = later if len(later) >= streams else every
    if not records:
        return None
    in_flight = streams if result.health.achieved is None else result.health.achieved
    events = sum(record.content_event_count for record in records)
    seconds = sum(record.end_ns - record.send_start_ns for record in records) / 1e9
    return Delivery(
        unit="events/s",
        asked=streams * _EVENTS / (_TTFT_MS + (_EVENTS - 1) * _ITL_MS) * 1e3,
        delivered=in_flight * events / seconds,
        ttft_ms=_ttft_ms(records),
        asked_ttft_ms=_TTFT_MS,
        pace=median(sum(record.content_gaps_ns) / (_EVENTS - 1) / 1e6 / _ITL_MS for record in records),
    )


def request_delivery(result: PhaseResult) -> Delivery | None:
    """Requests per second of an open loop; None if none succeeded.

    The time ends with the last response, so a backlog of the server lowers the rate.
    """
    records = _succeeded(result)
    asked, over = result.health.asked, result.last_completion_ns
    if not records or asked is None or over is None:
        return None
    return Delivery(
        unit="requests/s",
        asked=asked,
        delivered=result.succeeded / (over - result.start_ns) * 1e9,
        ttft_ms=_ttft_ms(records),
        asked_ttft_ms=0.0,
    )


def _succeeded(result: PhaseResult) -> list[RequestRecord]:
    return [
        record
        for record in read_records(Path(result.folder))
        if record.outcome == "succeeded" and record.first_content_ns is not None
    ]


def _ttft_ms(records: Sequence[RequestRecord]) -> float:
    return median(
        (record.first_content_ns - record.send_start_ns) / 1e6
        for record in records
        if record.first_content_ns is not None
    )


def _p99(quantiles: Quantiles | None) -> float:
    return 0.0 if quantiles is None else quantiles.p99


def _short(value: float) -> str:
    return (
        f"{value / 1e3:,.0f}k" if value >= 1e5 else f"{value / 1e3:,.1f}k" if value >= 1e3 else f"{value:.0f}"
    )
