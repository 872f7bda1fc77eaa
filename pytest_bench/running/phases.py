"""Declared phases carried out on a deployment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from msgspec.structs import replace

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.load import bodies, engine
from pytest_bench.load.supervisor import Progress
from pytest_bench.records import PhaseResult
from pytest_bench.running.bench import Bench
from pytest_bench.running.capacity import crowding, excess, known_capacity
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.samples import salted
from pytest_bench.running.server_metrics import ServerMetrics
from pytest_bench.suite.plan import Point
from pytest_bench.workload import Load, PhaseSpec, RunSpec, SampleOrder


@dataclass(frozen=True, kw_only=True)
class DeclaredPhase:
    """One phase that a kind of point asks for."""

    label: str
    load: Load
    samples: SampleOrder
    """Rows of the point's dataset."""
    salted: bool = False
    """Send salted copies of the rows instead of the rows."""
    handover: Literal["drain", "overlap"] = "drain"


def drive(
    bench: Bench, point: Point, deployment: Deployment, phases: Sequence[DeclaredPhase]
) -> list[PhaseResult]:
    """Drive `phases` in one go and return a result each. Their logs land in the point's folder.

    Raises `UsageError` before the first request where a phase names a sample that the dataset does not
    have, and `TokensError` where the deployment's tokenizer cannot be loaded; everything that `engine.run` raises
    comes through.
    """
    if point.dataset is None:
        raise UsageError(f"{point.origin}: {point.id} names no dataset")
    rows = bench.dataset(point.suite, point.dataset).rows
    for phase in phases:
        _check_samples(point, phase, len(rows))
    bench.tokenizer(deployment.plan)  # that it cannot count must not come to light when load is over
    lane = bench.live_lane
    folder = bench.folder(point) / "phases"
    specs = tuple(_spec(phase, point, folder, len(rows)) for phase in phases)
    for spec in specs:
        Path(spec.folder).mkdir(parents=True)
    if bench.say is not None and (note := bench.plan.unscaled(point)):
        bench.say(f"{point.id}: {note}")
    _warn(bench, point, phases)

    def progress(seen: Progress) -> None:
        bench.on_progress(point, specs[seen.phase], seen, None if lane is None else lane.tokens)

    folders = [Path(spec.folder) for spec in specs]
    with (
        bodies.nameless(_encoded(bench, point, deployment, phases)) as path,
        ServerMetrics(deployment, folders) as metrics,
    ):

        def entered(number: int) -> None:
            metrics.enter(number, wait=specs[number - 1].handover == "drain")

        run = RunSpec(
            point=point.id,
            nonce=bench.nonce,
            api=deployment.plan.api_reference,
            streaming=deployment.plan.stream,
            targets=deployment.targets,
            bodies=path,
            phases=specs,
            headers=deployment.headers.pairs,
            secrets=deployment.headers.secrets,
            timeouts=point.timeouts,
            budget=point.budget,
            max_response_bytes=point.max_response_bytes,
            workers=point.workers,
            left_cpus=() if lane is None else lane.own_cpus,
            texts=point.texts,
            poll_interval_s=deployment.plan.poll_interval_s,
        )
        results = engine.run(run, progress, entered)
    deployment.require_running()
    return results


def _warn(bench: Bench, point: Point, phases: Sequence[DeclaredPhase]) -> None:
    """Say so where a point has too many load workers, or a phase asks for more than this machine is known to carry."""
    if bench.say is None:
        return
    if crowded := crowding(point.workers):
        bench.say(f"{point.id}: {crowded}")
    try:
        capacity = known_capacity(os.environ)
    except EvidenceError as error:
        bench.say(str(error))
        return
    if capacity is None:
        return
    told: dict[str, list[str]] = {}
    for phase in phases:
        for sentence in excess(phase.load, capacity):
            told.setdefault(sentence, []).append(repr(phase.label))
    for sentence, labels in told.items():
        bench.say(f"{point.id}, phase {' and '.join(labels)}: {sentence}")


def samples_sent(phase: DeclaredPhase, rows: int) -> SampleOrder:
    """The phase's samples by the numbers that its log knows them by; the dataset has `rows` rows."""
    samples = phase.samples
    if not phase.salted:
        return samples
    # Salted copies follow the rows in the body file, in the rows' order.
    index = None if samples.index is None else rows + samples.index
    return replace(samples, first=rows + samples.first, index=index)


def _spec(phase: DeclaredPhase, point: Point, folder: Path, rows: int) -> PhaseSpec:
    return PhaseSpec(
        label=phase.label,
        load=phase.load,
        samples=samples_sent(phase, rows),
        folder=str(folder / phase.label),
        arrival_seed=point.arrival_seed,
        handover=phase.handover,
    )


def _encoded(
    bench: Bench, point: Point, deployment: Deployment, phases: Sequence[DeclaredPhase]
) -> Iterator[bytes]:
    if point.dataset is None:
        return
    rows = bench.dataset(point.suite, point.dataset).rows
    encode, generation = deployment.api.encode, deployment.generation
    yield from (encode(row, generation) for row in rows)
    if any(phase.salted for phase in phases):
        salt = f"{bench.nonce[:8]}/{point.id}"
        yield from (encode(salted(row, f"{salt}/{number}"), generation) for number, row in enumerate(rows))


def _check_samples(point: Point, phase: DeclaredPhase, rows: int) -> None:
    samples = phase.samples
    if samples.order == "single":
        if samples.index is None or not 0 <= samples.index < rows:
            raise UsageError(
                f"{point.origin}: sample index {samples.index} is outside the dataset {point.dataset!r}, "
                f"which has rows 0 to {rows - 1}"
            )
    elif samples.count < 1 or samples.first + samples.count > rows:
        raise UsageError(
            f"{point.origin}: phase {phase.label!r} of {point.id} needs {samples.count} rows from row "
            f"{samples.first} on, but the dataset {point.dataset!r} has {rows}"
        )
