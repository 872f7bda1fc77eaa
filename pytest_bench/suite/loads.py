"""Validate a declared load and build the load that the engine drives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import msgspec

from pytest_bench.suite.load_patterns import NEEDS, TAKES
from pytest_bench.suite.load_schema import LoadSection, WarmupSection
from pytest_bench.wording import one_of
from pytest_bench.workload import OPEN_LOOP, Load

BURST_CONNECTIONS = 1024
"""Default cap on the connections of a burst."""

_ENDED_BY_LIMITS = frozenset({"concurrency", "constant", "poisson", "gamma"})

Complaint = tuple[tuple[str | int, ...], str]
"""Path of a field inside the load, and the complaint about it."""


def load_complaints(load: LoadSection) -> Iterator[Complaint]:
    """Complaints about a load whose fields have the right types and whose sweep values are filled in."""
    given, pattern = load.model_fields_set, load.pattern
    for name in sorted(given - TAKES[pattern] - {"pattern"}):
        takes = one_of(sorted(TAKES[pattern]))
        yield (name,), f"does not apply to pattern {pattern!r}, which takes {takes}"
    for name in sorted(NEEDS[pattern]):
        if getattr(load, name) is None:
            yield (), f"has no {name!r}, which pattern {pattern!r} needs"
    yield from _limit_complaints(load)
    for position, stage in enumerate(load.stages or ()):
        if stage.pattern == "stages":
            yield ("stages", position, "pattern"), "is 'stages' inside stages; expected any other pattern"
        else:
            for path, what in load_complaints(stage):
                yield ("stages", position, *path), what


def _limit_complaints(load: LoadSection) -> Iterator[Complaint]:
    requests, duration_s, given = load.requests, load.duration_s, load.model_fields_set
    if load.pattern in _ENDED_BY_LIMITS and requests is None and duration_s is None:
        yield (), "never ends: expected 'requests', 'duration_s', or both"
    if "stop" in given and (requests is None or duration_s is None):
        yield ("stop",), "needs both 'requests' and 'duration_s' to choose between"
    if (
        load.pattern == "concurrency"
        and load.stop == "or"
        and (load.concurrency or 0) > (requests or math.inf)
    ):
        what = f"asks for {load.concurrency} requests in flight but for {requests} in all"
        yield (), f"{what}; expected 'requests' of at least {load.concurrency}"
    if duration_s is not None and load.ramp_s >= duration_s:
        yield ("ramp_s",), f"is {load.ramp_s:g}, not shorter than 'duration_s' ({duration_s:g})"


ReadTrace = Callable[[tuple[str | int, ...], str], tuple[int, ...]]
"""Returns the arrivals of the trace file that the field at a path inside the load names."""


def build_load(load: LoadSection, read: ReadTrace, where: tuple[str | int, ...] = ()) -> Load:
    """The load that the engine drives; `where` is its path inside the point's load."""
    takes = TAKES[load.pattern] - {"trace", "stages"}
    fields = {name: getattr(load, name) for name in takes}
    if load.pattern == "burst" and load.concurrency is None:
        fields["concurrency"] = BURST_CONNECTIONS
    return Load(
        pattern=load.pattern,
        trace_ns=() if load.trace is None else read((*where, "trace"), load.trace),
        stages=tuple(
            build_load(stage, read, (*where, "stages", position))
            for position, stage in enumerate(load.stages or ())
        ),
        **fields,
    )


def extended_to(load: Load, minimum_s: float) -> Load | None:
    """`load`, changed to last at least `minimum_s`; None if its own limits may end it earlier.

    A load with a fixed count (a burst, a trace, stages) is returned unchanged: its result is checked instead. Open-loop
    arrivals with only a duration would end before it, so they get `stop: and`, which makes them reach it.
    """
    if load.pattern not in _ENDED_BY_LIMITS:
        return load
    if load.duration_s is None:
        return msgspec.structs.replace(load, duration_s=minimum_s, stop="and")
    if load.least_duration_s is None or load.least_duration_s < minimum_s:
        return None
    return msgspec.structs.replace(load, stop="and") if load.pattern in OPEN_LOOP else load


def warmup_load(warmup: WarmupSection, load: Load) -> Load:
    """The point's own load with the warm-up's limits, without a ramp."""
    return msgspec.structs.replace(
        load, requests=warmup.requests, duration_s=warmup.duration_s, stop="or", ramp_s=0.0
    )
