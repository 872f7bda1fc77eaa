"""Points shortened for a smoke run, by `--requests` and `--duration-scale`, and labelled accordingly."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import msgspec

from pytest_bench.labels import Label
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.plan import Point
from pytest_bench.workload import Load


def shortened(overrides: Overrides, point: Point) -> Point:
    """`point` with the counts and durations of its load and warm-up overridden.

    A label says which override changed something; a point that neither changes has no label. A count that a sweep
    gives stays, because the point's id states it.
    """
    counted = point
    if overrides.requests is not None and "requests" not in point.sweep:
        counted = _map_loads(point, partial(_with_requests, requests=overrides.requests))
    found = _map_loads(counted, partial(_scaled, scale=overrides.duration_scale))
    found = labelled(found, [Label.SHORTENED] if found != counted else [])
    return labelled(found, [Label.REQUESTS_OVERRIDDEN] if counted != point else [])


def labelled(point: Point, labels: Iterable[str]) -> Point:
    """`point` with `labels` in addition to its own, each once."""
    return msgspec.structs.replace(point, labels=tuple(dict.fromkeys([*point.labels, *labels])))


def _map_loads(point: Point, change: Callable[[Load], Load]) -> Point:
    warmup = point.warmup
    return msgspec.structs.replace(
        point,
        load=None if point.load is None else change(point.load),
        warmup=None if warmup is None else msgspec.structs.replace(warmup, load=change(warmup.load)),
    )


def _with_requests(load: Load, requests: int) -> Load:
    """`load` with every declared number of requests replaced; a trace issues at most all of its arrivals."""
    count = None if load.requests is None else requests
    if load.pattern == "trace" and (load.requests is not None or requests < len(load.trace_ns)):
        count = min(requests, len(load.trace_ns))
    return msgspec.structs.replace(
        load, requests=count, stages=tuple(_with_requests(stage, requests) for stage in load.stages)
    )


def _scaled(load: Load, scale: float) -> Load:
    """`load` with every duration multiplied by `scale`."""
    return msgspec.structs.replace(
        load,
        duration_s=None if load.duration_s is None else load.duration_s * scale,
        ramp_s=load.ramp_s * scale,
        stages=tuple(_scaled(stage, scale) for stage in load.stages),
    )
