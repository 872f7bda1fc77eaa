"""One session of an eval point: issues the requests that its checkpoint lacks, and logs them in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from pytest_bench.api import Generation as ApiGeneration
from pytest_bench.checkpoints import Decision, Key, OpenCheckpoint, Session, decide
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.declared import Asked, item_time_limit_of, most_failures, retry_of, row_of
from pytest_bench.evals.tasks import scoring_of
from pytest_bench.load.counters import anonymous_file
from pytest_bench.records import PhaseResult
from pytest_bench.results import phase_file
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.phases import DeclaredPhase, drive
from pytest_bench.running.session import Reporter, SessionFacts
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.workload import Checkpointing, Load, SampleOrder

PHASES = "phases"


def session_label(number: int) -> str:
    """Label of the phase that session `number` of a point drives, from 1."""
    return f"session-{number}"


def begin(checkpoint: OpenCheckpoint, session: SessionFacts, point: Point, asked: Asked) -> Decision:
    """Decide what is left to do and log, durably, that this session does it.

    Raises `UsageError` that names the fields that differ if the checkpoint is of another eval, and `EvidenceError` if
    it cannot be written.
    """
    scoring = scoring_of(asked.task)
    decision = decide(checkpoint.contents, point.id, asked.generation, scoring, asked.keys)
    writer = checkpoint.writer()
    if decision.fresh:
        writer.append("header", {"log": "checkpoint", "point": point.id, "generation": asked.generation})
    if decision.action != "nothing":
        writer.append(
            "session",
            Session(
                nonce=session.nonce,
                repeats=asked.task.repeats,
                scoring=scoring,
                started_ns=time.time_ns(),
            ),
        )
    writer.close()
    if writer.fault is not None:
        raise EvidenceError(writer.fault)
    checkpoint.reread()
    return decision


def request(
    checkpoint: OpenCheckpoint,
    session: SessionFacts,
    point: Point,
    deployment: Deployment,
    asked: Asked,
    pending: Sequence[Key],
    reporter: Reporter,
) -> PhaseResult:
    """Issue the pending requests with exactly the point's concurrency in flight, as far as there are enough of them.

    The checkpoint is read again however this ends. Raises what `drive` raises.
    """
    if point.load is None or point.load.concurrency is None:
        raise EvidenceError(f"{point.id}: has no concurrency")
    by_id = {item.id: item for item in asked.items}
    rows = [row_of(by_id[key.item], deployment.api, point.origin) for key in pending]
    contents = checkpoint.contents
    encoded = msgspec.json.encode(list(pending))
    try:
        with ExitStack() as held:
            keys = anonymous_file(lambda stream: stream.write(encoded))
            held.callback(os.close, keys)
            [result] = drive(
                session,
                point,
                deployment,
                rows,
                [
                    DeclaredPhase(
                        label=session_label(len(contents.sessions)),
                        load=Load(
                            pattern="concurrency", concurrency=point.load.concurrency, requests=len(pending)
                        ),
                        samples=SampleOrder(order="sequential", count=len(pending)),
                    )
                ],
                reporter,
                generation=ApiGeneration(
                    model=deployment.plan.model,
                    stream=_streams(point, deployment.plan),
                    parameters=asked.task.parameters,
                ),
                checkpoint=Checkpointing(
                    path=str(checkpoint.path),
                    descriptor=checkpoint.descriptor,
                    keys=keys,
                    lines=contents.lines,
                    good_bytes=contents.good_bytes,
                    sync=point.options.get("sync", "group"),
                    retry=retry_of(point),
                    most_failures=most_failures(point, len(asked.keys)),
                    item_time_limit_s=item_time_limit_of(point),
                ),
            )
    finally:
        checkpoint.reread()
    return result


def read_phases(folder: Path, sessions: int) -> Iterator[PhaseResult]:
    """The engine's result of each session of a point that was not killed, in order. `folder` holds the evidence.

    Raises `EvidenceError` for a damaged file.
    """
    for number in range(1, sessions + 1):
        here = folder / PHASES / session_label(number)
        if (here / phase_file.NAME).exists():
            yield phase_file.read_phase(here).result(here)


def _streams(point: Point, deployment: DeploymentPlan) -> bool:
    """Whether answers are asked for as streams: as the eval says, otherwise as the deployment does."""
    asked = point.options.get("generation", {}).get("stream")
    return deployment.stream if asked is None else bool(asked)
