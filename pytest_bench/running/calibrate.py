"""Finding out what this machine can carry: the engine against the simulator, with more and more to do."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from pytest_bench import clock, simulator
from pytest_bench.api import Generation
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.load import bodies, engine
from pytest_bench.load.log import read_records
from pytest_bench.records import PhaseResult
from pytest_bench.running.capacity import STREAM_EVENTS_PER_S, Capacity, Limit, this_machine
from pytest_bench.scratch import scratch_folder
from pytest_bench.workload import Load, PhaseSpec, RunSpec, SampleOrder, Timeouts

FIRST_STREAMS, MOST_STREAMS = 32, 8_192
FIRST_RATE, MOST_RATE = 250, 64_000
SECONDS = 2.0

_TTFT_MS = 50.0
_EVENTS = 64
_SAMPLES = 64
_SLOWEST_PACE = 1.1
"""Beyond this multiple of the gap between events that was asked for, the simulator did not keep up."""
_REFINEMENTS = 2

Say = Callable[[str], None]


def calibrate(
    say: Say,
    *,
    seconds: float = SECONDS,
    streams: tuple[int, int] = (FIRST_STREAMS, MOST_STREAMS),
    rates: tuple[int, int] = (FIRST_RATE, MOST_RATE),
) -> Capacity:
    """Look for the most streams and the highest rate, between the first and the most of each pair.

    `say` is told every step. A step lasts `seconds`. Raises `LoadError` where the engine fails, and
    `EndpointError` where a simulator does not come up.
    """
    machine = this_machine()
    with scratch_folder() as scratch, ExitStack() as stack:
        paced = simulator.Behaviour(
            ttft_ms=_TTFT_MS, ttft_distribution="uniform", itl_ms=1000 / STREAM_EVENTS_PER_S
        )
        quick = simulator.Behaviour(ttft_ms=0.0, itl_ms=0.0)
        servers = max(1, machine.cpus // 2)
        bench = _Bench(scratch, seconds, say)
        carried_streams, streams_limit = highest(
            bench.streams([stack.enter_context(simulator.start(paced)).url for _ in range(servers)]), *streams
        )
        carried_rate, rate_limit = highest(
            bench.rate([stack.enter_context(simulator.start(quick)).url for _ in range(servers)]), *rates
        )
    return Capacity(
        machine=machine,
        streams=carried_streams,
        streams_limit=streams_limit,
        rate=carried_rate,
        rate_limit=rate_limit,
        measured_at=clock.utc_now(),
    )


def highest(attempt: Callable[[int], Limit | None], first: int, most: int) -> tuple[int, Limit]:
    """The highest level found that `attempt` carries, and what ended the search: 0 where not even `first` is.

    `attempt` returns what stood in the way, or None; it has a second try, because machines stutter. Doubles,
    then halves the gap a few times.
    """

    def obstacle(level: int) -> Limit | None:
        return attempt(level) and attempt(level)

    carried, level = 0, first
    while (limit := obstacle(level)) is None:
        carried = level
        if level >= most:
            return carried, "search"
        level = min(2 * level, most)
    for _ in range(_REFINEMENTS if carried else 0):
        middle = (carried + level) // 2
        found = obstacle(middle)
        if found is None:
            carried = middle
        else:
            level, limit = middle, found
    return carried, limit


class _Bench:
    """One engine run a step."""

    def __init__(self, scratch: Path, seconds: float, say: Say) -> None:
        self._scratch = scratch
        self._seconds = seconds
        self._say = say
        self._runs = 0

    def streams(self, urls: Sequence[str]) -> Callable[[int], Limit | None]:
        """Attempts at so many streams at once."""

        def attempt(level: int) -> Limit | None:
            load = Load(pattern="concurrency", concurrency=level, duration_s=self._seconds)
            result = self._run(load, urls, max_tokens=_EVENTS)
            limit = _limit(result) or ("simulator" if _pace_ms(result) > _slowest_ms() else None)
            self._tell(f"{level:,} streams", result, limit)
            return limit

        return attempt

    def rate(self, urls: Sequence[str]) -> Callable[[int], Limit | None]:
        """Attempts at so many requests a second."""

        def attempt(level: int) -> Limit | None:
            load = Load(pattern="poisson", rate=float(level), duration_s=self._seconds)
            result = self._run(load, urls, max_tokens=1)
            limit = _limit(result)
            self._tell(f"{level:,} requests a second", result, limit)
            return limit

        return attempt

    def _tell(self, level: str, result: PhaseResult, limit: Limit | None) -> None:
        health = result.health
        verdict = "carried" if limit is None else f"not carried: the {limit} was the bottleneck"
        why = f": {health.violations[0].partition(',')[0]}" if health.violations else ""
        self._say(
            f"{level}: {verdict} ({health.workers} load worker{'s' if health.workers > 1 else ''}, the busiest at "
            f"{health.cpu_share:.0%} of a core){why}"
        )

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
                texts="drop",
            )
        )
        return result


def _limit(result: PhaseResult) -> Limit | None:
    if result.health.violations:
        return "client"
    return "simulator" if result.failed or result.interrupted or not result.succeeded else None


def _slowest_ms() -> float:
    return _SLOWEST_PACE * 1000 / STREAM_EVENTS_PER_S


def _pace_ms(result: PhaseResult) -> float:
    """Median over requests of the mean gap between their events."""
    return median(
        (record.last_content_ns - record.first_content_ns) / (record.content_event_count - 1) / 1e6
        for record in read_records(Path(result.folder))
        if record.first_content_ns is not None
        and record.last_content_ns is not None
        and record.content_event_count > 1
    )
