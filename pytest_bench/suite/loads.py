"""A load as written to a load as driven: which fields a pattern takes, and whether they agree."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.suite.problems import one_of
from pytest_bench.suite.schema import LoadSection, WarmupSection
from pytest_bench.workload import Load

_LIMITS = frozenset({"requests", "duration_s", "stop"})
_ARRIVALS = _LIMITS | {"rate", "ramp_s"}

TAKES: dict[str, frozenset[str]] = {
    "burst": frozenset({"requests", "duration_s", "concurrency"}),
    "concurrency": _LIMITS | {"concurrency", "ramp_s"},
    "constant": _ARRIVALS,
    "poisson": _ARRIVALS,
    "gamma": _ARRIVALS | {"burstiness"},
    "trace": frozenset({"trace", "requests", "duration_s"}),
    "stages": frozenset({"stages", "handover"}),
}
"""Fields that a pattern takes beside `pattern` itself."""

NEEDS: dict[str, frozenset[str]] = {
    "burst": frozenset({"requests"}),
    "concurrency": frozenset({"concurrency"}),
    "constant": frozenset({"rate"}),
    "poisson": frozenset({"rate"}),
    "gamma": frozenset({"rate"}),
    "trace": frozenset({"trace"}),
    "stages": frozenset({"stages"}),
}
"""Fields that a pattern cannot do without."""

BURST_CONNECTIONS = 1024
"""Cap on the connections of a burst that declares none."""

_ENDED_BY_LIMITS = frozenset({"concurrency", "constant", "poisson", "gamma"})
_NS_PER_SECOND = 10**9

Complaint = tuple[tuple[str | int, ...], str]
"""Path of a field inside the load, and what is wrong with it."""


def load_complaints(load: LoadSection) -> Iterator[Complaint]:
    """What is wrong with a load whose fields have the right types, sweep values filled in."""
    given, pattern = load.model_fields_set, load.pattern
    for name in sorted(given - TAKES[pattern] - {"pattern"}):
        takes = one_of(sorted(TAKES[pattern]))
        yield (name,), f"is not for pattern {pattern!r}, which takes {takes}"
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
"""Gives the arrivals of a trace file, named by the field at a path inside the load."""


def build_load(load: LoadSection, read: ReadTrace, where: tuple[str | int, ...] = ()) -> Load:
    """The load at `where` inside the point's load, as the engine takes it."""
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


def warmup_load(warmup: WarmupSection, load: Load) -> Load:
    """The point's own load with the warm-up's limits, and no more in flight than it issues."""
    concurrency = load.concurrency
    if concurrency is not None and warmup.requests is not None:
        concurrency = min(concurrency, warmup.requests)
    return msgspec.structs.replace(
        load,
        requests=warmup.requests,
        duration_s=warmup.duration_s,
        stop="or",
        concurrency=concurrency,
        ramp_s=0.0,
    )


def scaled(load: Load, scale: float) -> Load:
    """`load` with every duration multiplied by `scale`; counts stay."""
    return msgspec.structs.replace(
        load,
        duration_s=None if load.duration_s is None else load.duration_s * scale,
        ramp_s=load.ramp_s * scale,
        stages=tuple(scaled(stage, scale) for stage in load.stages),
    )


def read_trace(path: Path) -> tuple[int, ...]:
    """Arrival times in nanoseconds from a JSONL or CSV file with a column `timestamp_s` or `timestamp_ms`.

    Raises `UsageError` naming file and line for anything else, times out of order included.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"the trace {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the trace {path} is not UTF-8") from error
    arrivals: list[int] = []
    for line, row in _csv_rows(path, text) if path.suffix == ".csv" else _jsonl_rows(path, text):
        arrival = _arrival(f"{path}:{line}", row)
        if arrivals and arrival < arrivals[-1]:
            raise UsageError(f"{path}:{line}: earlier than the line before; expected ascending times")
        arrivals.append(arrival)
    if not arrivals:
        raise UsageError(f"the trace {path} is empty; expected one line an arrival")
    return tuple(arrivals)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{number}: not valid JSON: {error}") from error


def _arrival(where: str, row: object) -> int:
    units = {"timestamp_s": _NS_PER_SECOND, "timestamp_ms": _NS_PER_SECOND // 1000}
    columns = [name for name in units if isinstance(row, dict) and row.get(name) is not None]
    if not isinstance(row, dict) or len(columns) != 1:
        raise UsageError(f"{where}: expected a row with 'timestamp_s' or 'timestamp_ms'")
    value = row[columns[0]]
    try:
        number = (
            float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        )
    except (ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and 0 <= number <= 10**12):
        raise UsageError(f"{where}: {columns[0]} is {value!r}; expected a time of at least 0")
    return round(number * units[columns[0]])
