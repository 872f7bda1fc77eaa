"""Driving a run: phases cut into legs, handed to load workers, and their accounts gathered into results."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from pytest_bench.errors import LoadError
from pytest_bench.files import write_json
from pytest_bench.host import cpu_quota
from pytest_bench.load.board import Board, anonymous_file
from pytest_bench.load.health import client_health
from pytest_bench.load.legs import Leg, WorkerSetup
from pytest_bench.load.schedule import arrivals_ns, mean_rate, phase_length_ns
from pytest_bench.load.supervisor import Driven, Progress, Supervisor, Watcher
from pytest_bench.records import PhaseFile, PhaseResult, WorkerReport
from pytest_bench.workload import OPEN_LOOP, Load, PhaseSpec, RunSpec

_STREAMS_PER_WORKER = 512
_RATE_PER_WORKER = 2_000.0


def run(
    spec: RunSpec,
    on_progress: Callable[[Progress], None] | None = None,
    on_phase: Callable[[int], None] | None = None,
) -> list[PhaseResult]:
    """Drive all phases of `spec`, one after the other, and return one result each.

    `on_progress` is called about twice a second. `on_phase` is called with the position of every phase but the
    first: before its first request where the phase before was drained, else within a tenth of a second of it.
    Every result is also written to `phase.json` in its phase's folder. Raises `WorkerDied` when a load worker
    ends or hangs before its time and `LoadError` when one gives up (a full disk, no more descriptors) or there is
    no room to begin; on those, on Ctrl-C and on any other way out, what was complete is on disk and no load
    worker is left. Everything that load workers share is without a name: nothing of it is left either, not even
    where this process is killed.
    """
    with ExitStack() as held:
        legs = [leg for number in range(len(spec.phases)) for leg in _legs(spec, number, held)]
        driven, starts_ns = _drive(spec, legs, held, Watcher(on_progress, on_phase))
    results = []
    for number, phase in enumerate(spec.phases):
        own = [position for position, leg in enumerate(legs) if leg.phase == number]
        result = _result(
            spec,
            phase,
            [reports[number] for reports in driven.reports],
            legs=[legs[position] for position in own],
            start_ns=starts_ns[own[0]],
        )
        results.append(result)
        _write_down(spec, result, driven.failure)
    if driven.failure is not None:
        raise driven.failure
    return results


def _drive(spec: RunSpec, legs: Sequence[Leg], held: ExitStack, watcher: Watcher) -> tuple[Driven, list[int]]:
    """Start the load workers and see them through. The second value is when each leg began."""
    workers = _workers(spec, legs)
    board_fd, board = Board.create(legs=len(legs), workers=workers, phases=len(spec.phases))
    _held(board_fd, held)
    held.callback(board.close)
    # Arrivals are in their files: a trace of millions would be parsed and held by every load worker.
    bare = [replace(phase, load=replace(phase.load, trace_ns=(), stages=())) for phase in spec.phases]
    cursors = [_held(anonymous_file(), held) for _ in legs]
    indices = [_held(anonymous_file(), held) for _ in spec.phases]
    bodies = _held(os.open(spec.bodies, os.O_RDONLY), held)
    setups = [
        WorkerSetup(
            run=replace(spec, phases=tuple(bare)),
            legs=tuple(legs),
            worker=worker,
            workers=workers,
            cursors=tuple(cursors),
            indices=tuple(indices),
            bodies=bodies,
            board=board_fd,
            import_path=tuple(sys.path),
        )
        for worker in range(workers)
    ]
    with Supervisor(setups, board, watcher) as supervisor:
        driven = supervisor.drive()
    return driven, [board.leg_start(number) for number in range(len(legs))]


def _held(fd: int, held: ExitStack) -> int:
    """The same descriptor, closed with `held`."""
    held.callback(os.close, fd)
    return fd


def _write_down(spec: RunSpec, result: PhaseResult, failure: BaseException | None) -> None:
    """Write the result beside its logs; where the run has failed already, that failure stays the one told."""
    path = Path(result.folder) / "phase.json"
    try:
        write_json(path, PhaseFile.of(result, point=spec.point, nonce=spec.nonce))
    except OSError as error:
        what = f"{path}: cannot be written: {error.strerror or error}"
        if failure is None:
            raise LoadError(f"{what}; give the results a folder with room") from error
        failure.add_note(what)


def _workers(spec: RunSpec, legs: Sequence[Leg]) -> int:
    """As many load workers as were asked for, else as the load needs, leaving one core of what this process
    may use to everything else; never more than there are ever requests in flight to share out."""
    cores = (
        len(os.sched_getaffinity(0).difference(spec.left_cpus))
        if sys.platform == "linux"
        else os.cpu_count() or 1
    )
    cores = min(cores, math.ceil(cpu_quota() or cores))
    loads = [load for phase in spec.phases for load in phase.load.parts]
    demand = max(
        max((load.peak_in_flight or 0) / _STREAMS_PER_WORKER, mean_rate(load) / _RATE_PER_WORKER)
        for load in loads
    )
    wanted = spec.workers or max(1, min(cores - 1, -int(-demand // 1)))
    return min(wanted, max(leg.concurrency if leg.closed else wanted for leg in legs))


def _legs(spec: RunSpec, number: int, held: ExitStack) -> Iterator[Leg]:
    phase = spec.phases[number]
    stages = phase.load.parts
    times = {
        position: arrivals_ns(load, phase.arrival_seed + position)
        for position, load in enumerate(stages)
        if load.pattern in OPEN_LOOP
    }
    counts = [
        len(times[position]) if position in times else load.exact_requests
        for position, load in enumerate(stages)
    ]
    known = sum(count for count in counts if count is not None)
    draws = counts.count(None) > 1
    first_index = 0
    for position, load in enumerate(stages):
        last_of_phase = position + 1 == len(stages)
        drain = phase.handover == "drain" if last_of_phase else phase.load.handover == "drain"
        count = counts[position]
        if load.pattern in OPEN_LOOP:
            yield Leg(
                phase=number,
                first_index=first_index,
                arrivals=_held(anonymous_file(times[position].tofile), held),
                requests=count,
                length_ns=phase_length_ns(load, times[position]),
                last_arrival_ns=int(times[position][-1]) if count else 0,
                drain=drain,
            )
        elif load.requests is None and load.duration_s is None:
            raise LoadError(f"phase {phase.label!r}: its load says neither how many requests nor how long")
        else:
            yield Leg(
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


def _result(
    spec: RunSpec,
    phase: PhaseSpec,
    reports: Sequence[WorkerReport],
    *,
    legs: Sequence[Leg],
    start_ns: int,
) -> PhaseResult:
    failures: dict[str, int] = {}
    for report in reports:
        for kind, count in report.failures.items():
            failures[kind] = failures.get(kind, 0) + count
    issued = sum(report.issued for report in reports)
    succeeded = sum(report.succeeded for report in reports)
    failed = sum(report.failed for report in reports)
    interrupted = sum(report.interrupted for report in reports)
    if issued != succeeded + failed + interrupted:
        raise LoadError(
            f"phase {phase.label!r} lost requests: {issued} issued, but {succeeded} succeeded, {failed} failed "
            f"and {interrupted} were interrupted"
        )
    return PhaseResult(
        label=phase.label,
        folder=phase.folder,
        issued=issued,
        succeeded=succeeded,
        failed=failed,
        interrupted=interrupted,
        resent=sum(report.resent for report in reports),
        failures=dict(sorted(failures.items())),
        start_ns=start_ns,
        first_issue_ns=min(_known(report.first_issue_ns for report in reports), default=None),
        last_issue_ns=max(_known(report.last_issue_ns for report in reports), default=None),
        last_completion_ns=max(_known(report.last_completion_ns for report in reports), default=None),
        full_load_ns=_full_load(phase.load, reports, start_ns),
        peak_in_flight=sum(report.peak_in_flight for report in reports),
        health=client_health(phase.load, reports, spec.budget, last_arrival_ns=legs[-1].last_arrival_ns),
        complete=all(report.over for report in reports) and interrupted == 0 and issued > 0,
    )


def _full_load(load: Load, reports: Sequence[WorkerReport], start_ns: int) -> int | None:
    if load.pattern in OPEN_LOOP:
        return start_ns + round(load.ramp_s * 1e9)
    if load.pattern != "concurrency":
        return None
    known = [report.full_load_ns for report in reports]
    if None in known:
        return None
    return max(_known(known))


def _known(values: Iterable[int | None]) -> Iterator[int]:
    return (value for value in values if value is not None)
