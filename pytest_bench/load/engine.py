"""Runs phases: divides them into stages, starts load workers, and combines their reports into results."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from pytest_bench.cpus import process_cpus
from pytest_bench.errors import LoadError
from pytest_bench.files import write_json
from pytest_bench.load.account import combine
from pytest_bench.load.counters import SharedCounters, anonymous_file
from pytest_bench.load.messages import Stage, WorkerSetup
from pytest_bench.load.schedule import arrivals_ns, mean_rate, phase_length_ns
from pytest_bench.load.supervisor import Driven, Progress, Supervisor, Watcher
from pytest_bench.records import PhaseFile, PhaseResult
from pytest_bench.workload import OPEN_LOOP, Load, RunSpec

_STREAMS_PER_WORKER = 512
_RATE_PER_WORKER = 2_000.0


def run(
    spec: RunSpec,
    on_progress: Callable[[Progress], None] | None = None,
    on_phase: Callable[[int], None] | None = None,
) -> list[PhaseResult]:
    """Run all phases of `spec`, one after the other, and return one result per phase.

    `on_progress` is called about twice a second. `on_phase` is called with the position of every phase except the
    first: before its first request if the previous phase was drained, otherwise within a tenth of a second after it.
    Every result is also written to `phase.json` in its phase's folder.

    Raises `WorkerDied` if a load worker exits early or hangs, and `LoadError` if one cannot continue (a full disk, no
    more descriptors) or if there is no space to start. However this function ends, Ctrl-C included, complete records
    are on disk and no load worker is left. Files that load workers share have no name, so nothing of them is left even
    if this process is killed.
    """
    with ExitStack() as held:
        stages = [stage for number in range(len(spec.phases)) for stage in _stages(spec, number, held)]
        driven, starts_ns = _drive(spec, stages, held, Watcher(on_progress, on_phase))
    results = []
    for number, phase in enumerate(spec.phases):
        own = next(position for position, stage in enumerate(stages) if stage.phase == number)
        result = combine(
            [reports[number] for reports in driven.reports],
            phase.load,
            spec.budget,
            label=phase.label,
            folder=phase.folder,
            start_ns=starts_ns[own],
        )
        results.append(result)
        _write_down(spec, result, driven.failure)
    if driven.failure is not None:
        raise driven.failure
    return results


def _drive(
    spec: RunSpec, stages: Sequence[Stage], held: ExitStack, watcher: Watcher
) -> tuple[Driven, list[int]]:
    """Start the load workers and supervise them to the end. The second value is the start time of each stage."""
    workers = _workers(spec, stages)
    counters_fd, counters = SharedCounters.create(
        stages=len(stages), workers=workers, phases=len(spec.phases)
    )
    _close_with(counters_fd, held)
    held.callback(counters.close)
    # Load workers read arrivals from files, so they need not parse and hold a trace of millions.
    bare = [replace(phase, load=replace(phase.load, trace_ns=(), stages=())) for phase in spec.phases]
    cursors = [_close_with(anonymous_file(), held) for _ in stages]
    indices = [_close_with(anonymous_file(), held) for _ in spec.phases]
    bodies = _close_with(os.open(spec.bodies, os.O_RDONLY), held)
    setups = [
        WorkerSetup(
            run=replace(spec, phases=tuple(bare)),
            stages=tuple(stages),
            worker=worker,
            workers=workers,
            cursors=tuple(cursors),
            indices=tuple(indices),
            bodies=bodies,
            counters=counters_fd,
        )
        for worker in range(workers)
    ]
    with Supervisor(setups, counters, watcher) as supervisor:
        driven = supervisor.drive()
    return driven, [counters.stage_start(number) for number in range(len(stages))]


def _close_with(fd: int, held: ExitStack) -> int:
    """Return `fd`, which is closed together with `held`."""
    held.callback(os.close, fd)
    return fd


def _write_down(spec: RunSpec, result: PhaseResult, failure: BaseException | None) -> None:
    """Write the result beside its logs. If the run has already failed, that failure is kept and a note is added."""
    path = Path(result.folder) / "phase.json"
    try:
        write_json(path, PhaseFile.of(result, point=spec.point, nonce=spec.nonce))
    except OSError as error:
        what = f"{path}: cannot be written: {error.strerror or error}"
        if failure is None:
            raise LoadError(f"{what}; give the results a folder with room") from error
        failure.add_note(what)


def _workers(spec: RunSpec, stages: Sequence[Stage]) -> int:
    """Number of load workers: as declared, otherwise as many as the load needs, leaving one usable core free.

    Never more than the highest concurrency, because a worker without a share would be idle.
    """
    usable = process_cpus()
    if spec.cpus:
        usable = replace(usable, allowed=spec.cpus)
    cores = math.ceil(usable.limit)
    loads = [load for phase in spec.phases for load in phase.load.parts]
    demand = max(
        max((load.peak_in_flight or 0) / _STREAMS_PER_WORKER, mean_rate(load) / _RATE_PER_WORKER)
        for load in loads
    )
    wanted = spec.workers or max(1, min(cores - 1, -int(-demand // 1)))
    return min(wanted, max(stage.concurrency or stage.max_concurrency or wanted for stage in stages))


def _stages(spec: RunSpec, number: int, held: ExitStack) -> Iterator[Stage]:
    phase = spec.phases[number]
    parts = phase.load.parts
    times = {
        position: arrivals_ns(load, phase.arrival_seed + position)
        for position, load in enumerate(parts)
        if load.pattern in OPEN_LOOP
    }
    counts = [
        len(times[position]) if position in times else load.exact_requests
        for position, load in enumerate(parts)
    ]
    known = sum(count for count in counts if count is not None)
    draws = counts.count(None) > 1
    first_index = 0
    for position, load in enumerate(parts):
        last_of_phase = position + 1 == len(parts)
        drain = phase.handover == "drain" if last_of_phase else phase.load.handover == "drain"
        count = counts[position]
        if load.pattern in OPEN_LOOP:
            yield Stage(
                phase=number,
                first_index=first_index,
                arrivals=_close_with(anonymous_file(times[position].tofile), held),
                requests=count,
                length_ns=phase_length_ns(load, times[position]),
                max_concurrency=load.max_concurrency or 0,
                drain=drain,
            )
        elif load.requests is None and load.duration_s is None:
            raise LoadError(f"phase {phase.label!r}: its load declares neither `requests` nor `duration_s`")
        else:
            yield Stage(
                phase=number,
                first_index=known if count is None else first_index,
                draws_indices=draws and count is None,
                concurrency=_concurrency(load),
                requests=load.requests,
                duration_ns=None if load.duration_s is None else round(load.duration_s * 1e9),
                both=load.stop == "and",
                ramp_ns=round(load.ramp_s * 1e9),
                at_once=load.pattern == "burst",
                drain=drain,
            )
        first_index += count or 0


def _concurrency(load: Load) -> int:
    if load.peak_in_flight is None:
        raise LoadError(f"pattern {load.pattern!r} needs a concurrency")
    return load.peak_in_flight
