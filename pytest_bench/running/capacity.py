"""The capacity of this machine as a client, and whether a load exceeds it.

`calibrate.calibrate` measures it. It is stored in the user's cache folder, and is valid for this machine and this
version only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench import __version__
from pytest_bench.cpus import process_cpus
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import read_json, write_json
from pytest_bench.host import cpu_model
from pytest_bench.load.schedule import mean_rate
from pytest_bench.workload import OPEN_LOOP, Load

STREAM_EVENTS_PER_S = 100
"""Events per second of each stream of a capacity."""

Limit = Literal["client", "simulator", "search"]
"""What ended the search: the client, the simulator, or the end of the range."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and version for which a calibration is valid."""

    cpu: str | None
    cpus: int
    """Logical CPUs that this process may run on."""
    quota: float | None
    """CPU limit of the control groups, in CPUs; None: no limit, or unknown."""
    version: str
    """Of this package."""


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """The highest loads with the client's health within its budget."""

    machine: Machine
    streams: int
    """Concurrent streams, each of `STREAM_EVENTS_PER_S` events a second."""
    streams_limit: Limit
    streams_error: float
    """Share of these streams that was missing because the client had not sent the next request yet (its vacancy)."""
    turnaround_ms: float
    """p99 with these streams, from the end of a response to the next request."""
    rate: int
    """Short requests a second, with Poisson arrivals."""
    rate_limit: Limit
    lateness_ms: float
    """p99 at this rate, from the scheduled time of a request to its sending."""
    measured_at: str
    """ISO 8601, UTC."""


def found(capacity: Capacity) -> Iterator[str]:
    """The capacity in words, one sentence each for streams and rate."""
    yield (
        f"this machine keeps {_level(capacity.streams, capacity.streams_limit)} streams of {STREAM_EVENTS_PER_S} "
        f"events/s with an error of less than {math.ceil(capacity.streams_error * 1000) / 10:g}% "
        f"(turnaround {capacity.turnaround_ms:.3g} ms at p99)"
    )
    yield (
        f"this machine issues {_level(capacity.rate, capacity.rate_limit)} requests/s, each less than "
        f"{capacity.lateness_ms:.3g} ms late at p99"
    )


def _level(value: int, limit: Limit) -> str:
    return f"{value:,}" if limit == "client" else f"at least {value:,}"


def this_machine() -> Machine:
    """The machine and version that run now."""
    usable = process_cpus()
    return Machine(cpu=cpu_model(), cpus=len(usable.allowed), quota=usable.quota, version=__version__)


def too_many_workers(workers: int | None) -> str | None:
    """A sentence about a point with more load workers than this process has CPUs; None if it has not."""
    cpus = process_cpus().limit
    if workers is None or workers <= max(cpus, 1):
        return None
    return (
        f"{workers} load workers share {cpus:g} CPUs: more than there are CPUs issue no more load, and delay each "
        f"other; leave `workers` out, or set at most {max(int(cpus), 1)}"
    )


def store_path(environ: Mapping[str, str]) -> Path | None:
    """File of the calibration: below `$XDG_CACHE_HOME`, or `~/.cache` if that is unset or relative. None for a user
    without a home folder."""
    declared = Path(environ.get("XDG_CACHE_HOME", ""))
    try:
        base = declared if declared.is_absolute() else Path.home() / ".cache"
    except RuntimeError:
        return None
    return base / "pytest-inference-bench" / "calibration.json"


def write_capacity(path: Path, capacity: Capacity) -> None:
    """Store a calibration. Raises `UsageError` if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, capacity)
    except OSError as error:
        raise UsageError(
            f"{path}: the calibration cannot be kept: {error.strerror or error}; set XDG_CACHE_HOME to a folder "
            "that can be written"
        ) from error


def known_capacity(environ: Mapping[str, str]) -> Capacity | None:
    """The capacity of this machine; None if it was not calibrated with this version. Raises `EvidenceError`."""
    path = store_path(environ)
    if path is None or not path.is_file():
        return None
    capacity = read_capacity(path)
    return capacity if capacity.machine == this_machine() else None


def read_capacity(path: Path) -> Capacity:
    """Read a calibration, of any machine and version. Raises `EvidenceError` for a file that is not one."""
    try:
        return msgspec.convert(read_json(path), Capacity)
    except (EvidenceError, msgspec.ValidationError) as error:
        raise EvidenceError(
            f"{path}: is not a calibration ({error}); run `pytest-bench calibrate` again"
        ) from error


def excess(load: Load, capacity: Capacity) -> Iterator[str]:
    """One sentence for each part of `load` that exceeds `capacity`."""
    for stage in load.parts:
        if stage.pattern in OPEN_LOOP:
            rate = mean_rate(stage)
            if rate > capacity.rate:
                yield _sentence(
                    f"{rate:,.0f} requests a second", f"{capacity.rate:,}", capacity.rate_limit, capacity
                )
        else:
            streams = stage.peak_in_flight or 0
            if streams > capacity.streams:
                carried = f"{capacity.streams:,} streams of {STREAM_EVENTS_PER_S} events a second"
                yield _sentence(f"{streams:,} requests in flight", carried, capacity.streams_limit, capacity)


def _sentence(asked: str, carried: str, limit: Limit, capacity: Capacity) -> str:
    known = "carries" if limit == "client" else "is known to carry (and could not be tested with more than)"
    return (
        f"asks for {asked}, but this machine {known} {carried}, by its calibration of {capacity.measured_at}: "
        "the point may end as an error, client-bound; use a larger machine for the client, or spread the load "
        "over several points"
    )
