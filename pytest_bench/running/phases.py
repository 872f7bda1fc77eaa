"""Drives the declared phases of a point on a deployment."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from pytest_bench.api import Generation
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.load import bodies, engine
from pytest_bench.load.supervisor import Progress
from pytest_bench.records import PhaseResult
from pytest_bench.running.capacity import excess, known_capacity, too_many_workers
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.liveness import Liveness
from pytest_bench.running.samples import salted
from pytest_bench.running.server_metrics import ServerMetrics
from pytest_bench.running.session import Reporter, SessionFacts
from pytest_bench.suite.plan import Point
from pytest_bench.tokens.live import LiveLane
from pytest_bench.workload import Checkpointing, Load, PhaseSpec, RunSpec, SampleOrder


@dataclass(frozen=True, kw_only=True)
class DeclaredPhase:
    """One phase of a point."""

    label: str
    load: Load
    samples: SampleOrder
    """Rows of the point's dataset."""
    salted: bool = False
    """Send salted copies of the rows instead of the rows."""
    handover: Literal["drain", "overlap"] = "drain"


def drive(
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    rows: Sequence[Mapping[str, Any]],
    phases: Sequence[DeclaredPhase],
    reporter: Reporter,
    *,
    lane: LiveLane | None = None,
    generation: Generation | None = None,
    checkpoint: Checkpointing | None = None,
) -> list[PhaseResult]:
    """Drive `phases` one after the other and return a result for each. Logs are written to the point's folder.

    `rows` are those of the point's dataset; `lane` counts tokens meanwhile. `generation` replaces the deployment's;
    `checkpoint`, of an eval, takes the place of the logs of its only phase. Raises `UsageError` before the first
    request if a phase names a sample that the dataset does not have, and whatever `engine.run` raises.
    """
    for phase in phases:
        _check_samples(point, phase, len(rows))
    folder = session.folder(point) / "phases"
    specs = tuple(_spec(phase, point, folder, len(rows)) for phase in phases)
    for spec in specs:
        Path(spec.folder).mkdir(parents=True)
    if note := session.plan.unscaled(point):
        reporter.note(f"{point.id}: {note}")
    _warn(reporter, point, phases)

    liveness = _liveness(deployment)

    def progress(seen: Progress) -> None:
        liveness.check(seen)
        reporter.progress(point, specs[seen.phase], seen, None if lane is None else lane.tokens)

    folders = [Path(spec.folder) for spec in specs]
    with (
        bodies.anonymous(
            _encoded(session.nonce, point, deployment, generation or deployment.generation, rows, phases)
        ) as path,
        ServerMetrics(deployment, folders, nonce=session.nonce) as metrics,
    ):

        def entered(number: int) -> None:
            metrics.enter(number, wait=specs[number - 1].handover == "drain")

        run = RunSpec(
            point=point.id,
            nonce=session.nonce,
            api=deployment.plan.api_reference,
            streaming=deployment.plan.stream if generation is None else generation.stream,
            targets=deployment.targets,
            bodies=path,
            phases=specs,
            headers=deployment.headers.pairs,
            secrets=deployment.headers.secrets,
            timeouts=point.timeouts,
            budget=point.budget,
            max_response_bytes=point.max_response_bytes,
            workers=point.workers if checkpoint is None else 1,
            cpus=() if lane is None else lane.load_cpus,
            texts=point.texts,
            poll_interval_s=deployment.plan.poll_interval_s,
            checkpoint=checkpoint,
        )
        results = engine.run(run, progress, entered)
    deployment.require_running()
    return results


def _liveness(deployment: Deployment) -> Liveness:
    containers = deployment.containers
    if containers is None:
        return Liveness(deployment.require_running)
    return Liveness(deployment.require_running, containers.serving.plan, containers.story)


def _warn(reporter: Reporter, point: Point, phases: Sequence[DeclaredPhase]) -> None:
    """Note that a point has too many load workers, or that a phase exceeds the calibrated capacity of this machine."""
    if sentence := too_many_workers(point.workers):
        reporter.note(f"{point.id}: {sentence}")
    try:
        capacity = known_capacity(os.environ)
    except EvidenceError as error:
        reporter.note(str(error))
        return
    if capacity is None:
        return
    noted: dict[str, list[str]] = {}
    for phase in phases:
        for sentence in excess(phase.load, capacity):
            noted.setdefault(sentence, []).append(repr(phase.label))
    for sentence, labels in noted.items():
        reporter.note(f"{point.id}, phase {' and '.join(labels)}: {sentence}")


def samples_sent(phase: DeclaredPhase, rows: int) -> SampleOrder:
    """The phase's samples by their numbers in its log; the dataset has `rows` rows."""
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
    nonce: str,
    point: Point,
    deployment: Deployment,
    generation: Generation,
    rows: Sequence[Mapping[str, Any]],
    phases: Sequence[DeclaredPhase],
) -> Iterator[bytes]:
    encode = deployment.api.encode
    yield from (encode(row, generation) for row in rows)
    if any(phase.salted for phase in phases):
        salt = f"{nonce[:8]}/{point.id}"
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
