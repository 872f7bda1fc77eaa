"""Arrival times of open-loop phases, all drawn before the phase from one seeded stream.

Times are integer nanoseconds after the start of the phase. Load worker w of W takes arrivals w, w + W, …,
so any number of load workers issues the same requests at the same times.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pytest_bench.errors import UsageError
from pytest_bench.workload import Load

Times = npt.NDArray[np.int64]

_BLOCK = 65_536


def arrivals_ns(load: Load, seed: int) -> Times:
    """Ascending arrival times of an open-loop `load`.

    `constant` spaces arrivals evenly; `poisson` draws exponential gaps; `gamma` draws gamma gaps of shape
    `burstiness` (variance over squared mean is 1 / burstiness). During `ramp_s` the rate grows linearly from
    zero: unit-rate arrivals are mapped through the inverse of the cumulated rate (Çinlar's method).

    Arrivals end before the duration, counted from the start. With `stop: and` the duration is a minimum from the first
    arrival to the last, so arrivals continue up to the first one that reaches it.
    """
    if load.pattern == "trace":
        return _limit(load, np.asarray(load.trace_ns, dtype=np.int64))
    if load.rate is None or (load.requests is None and load.duration_s is None):
        raise UsageError(f"pattern {load.pattern!r} needs a rate, and a number of requests or a duration")
    blocks: list[Times] = []
    drawn = 0
    for unit_times in _unit_arrivals(load, seed):
        times = np.rint(_unramp(unit_times, load.rate, load.ramp_s) * 1e9).astype(np.int64)
        blocks.append(times)
        drawn += len(times)
        since_ns = blocks[0][0] if load.stop == "and" else 0
        if _enough(load, drawn, int(times[-1] - since_ns)):
            break
    return _limit(load, np.concatenate(blocks))


def phase_length_ns(load: Load, times: Times) -> int:
    """Length of the phase: its duration, unless it has none or `requests` ends it earlier."""
    last = int(times[-1]) if len(times) else 0
    if load.duration_s is None or (
        load.requests is not None and load.stop == "or" and len(times) == load.requests
    ):
        return last
    return max(last, round(load.duration_s * 1e9))


def mean_rate(load: Load) -> float:
    """Mean arrivals per second of an open-loop load; 0 if there are none."""
    if load.rate is not None:
        return load.rate
    last_s = load.trace_ns[-1] / 1e9 if load.trace_ns else 0.0
    return len(load.trace_ns) / last_s if last_s else 0.0


def _unit_arrivals(load: Load, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks of arrival times of the same process at rate 1. The first arrival is at the first gap, except
    that an even spacing starts at zero."""
    stream = np.random.Generator(np.random.PCG64(seed))
    at = 0.0
    while True:
        match load.pattern:
            case "constant":
                times = at + np.arange(_BLOCK, dtype=np.float64)
                at += _BLOCK
            case "poisson":
                times = at + np.cumsum(stream.standard_exponential(_BLOCK))
                at = float(times[-1])
            case "gamma":
                gaps = stream.standard_gamma(load.burstiness, _BLOCK) / load.burstiness
                times = at + np.cumsum(gaps)
                at = float(times[-1])
            case _:
                raise UsageError(f"pattern {load.pattern!r} has no arrival times")
        yield times


def _unramp(unit_times: npt.NDArray[np.float64], rate: float, ramp_s: float) -> npt.NDArray[np.float64]:
    during = rate * ramp_s / 2
    steady = ramp_s + (unit_times - during) / rate
    if ramp_s == 0:
        return steady
    return np.where(unit_times < during, np.sqrt(2 * ramp_s * np.minimum(unit_times, during) / rate), steady)


def _enough(load: Load, drawn: int, lasted_ns: int) -> bool:
    counted = load.requests is not None and drawn >= load.requests
    lasted = load.duration_s is not None and lasted_ns >= round(load.duration_s * 1e9)
    if load.requests is None:
        return lasted
    if load.duration_s is None:
        return counted
    return counted and lasted if load.stop == "and" else counted or lasted


def _limit(load: Load, times: Times) -> Times:
    by_count = len(times) if load.requests is None else load.requests
    by_time = len(times) if load.duration_s is None else _by_time(load, times, round(load.duration_s * 1e9))
    if load.requests is None:
        return times[:by_time]
    if load.duration_s is None:
        return times[:by_count]
    return times[: max(by_count, by_time) if load.stop == "and" else min(by_count, by_time)]


def _by_time(load: Load, times: Times, duration_ns: int) -> int:
    if load.stop == "and" and len(times):
        return int(np.searchsorted(times, times[0] + duration_ns)) + 1
    return int(np.searchsorted(times, duration_ns))
