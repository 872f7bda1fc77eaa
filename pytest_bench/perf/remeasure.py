"""Measures a performance point again, from its logs alone, without sending, counting or writing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.perf.point import MEASURED, assess, perf_labels, phases_of
from pytest_bench.records import PhaseResult
from pytest_bench.results.summary import Summary
from pytest_bench.running.counting import read_counted
from pytest_bench.running.deployment import is_simulated
from pytest_bench.running.measuring import with_errors
from pytest_bench.running.phases import DeclaredPhase
from pytest_bench.running.replicas import differences
from pytest_bench.running.server_log import with_log_budget
from pytest_bench.running.sharing import share_of
from pytest_bench.running.simulator_bound import simulator_bound
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Judgement

_FROM_ROWS = frozenset({"output_tokens_requested_share", "video_seconds_throughput"})
"""Metrics that may depend on the rows of the dataset, which the evidence does not hold."""


def remeasure(
    plan: Plan, point: Point, folder: Path, summary: Summary, scratch: Path
) -> tuple[Measurement, Judgement]:
    """Measure and judge a point's phases as the session did. `folder` holds its evidence; `scratch`: temporary files.

    Raises `EvidenceError` if the logs are damaged, incomplete, or contradict their counters.
    """
    phases = [msgspec.structs.replace(phase, folder=str(folder / phase.folder)) for phase in summary.phases]
    if not phases or phases[-1].label != MEASURED or summary.dataset is None:
        raise EvidenceError(
            f"{folder}: has no phase {MEASURED!r} at its end, or names no dataset: nothing to measure"
        )
    deployment = plan.deployment_of(point)
    counted = read_counted(Path(phases[-1].folder))
    bare = msgspec.structs.replace(
        point, bounds=tuple(bound for bound in point.bounds if bound.metric not in _FROM_ROWS)
    )
    measurement, judgement = assess(deployment, bare, phases, counted, (), scratch=scratch)
    share = share_of(plan, point, summary.dataset.rows)
    wanted = deployment.tokens.tokenizer is not None or "backend" in (summary.tokenizer or {})
    if counted.tokens is None and wanted:
        raise EvidenceError(
            f"{phases[-1].folder}/tokens.jsonl: is missing or unfinished, and the session counted tokens"
        )
    simulated = is_simulated(deployment, (identity.get("server") for identity in summary.identities))
    late = simulated and bool(simulator_bound(phases[-1:]))
    differ = bool(differences(summary.identities))
    labels = perf_labels(
        plan, point, share, measurement, phases[-1], simulated=simulated, late=late, differ=differ
    )
    return measurement, with_log_budget(with_errors(judgement, (), list(labels)), deployment, folder)


def declared_phases(plan: Plan, point: Point, rows: int) -> Iterator[DeclaredPhase]:
    """The phases of a point, whose dataset has `rows` rows."""
    return phases_of(point, share_of(plan, point, rows))


def from_rows(metric: str) -> bool:
    """Whether a metric cannot be measured again without the dataset."""
    return metric in _FROM_ROWS


def shortfalls(point: Point, phase: PhaseResult) -> Iterator[str]:
    """A sentence for each counter of the engine that does not match the declared load."""
    load = point.load
    if load is None:
        return
    exact, most_requests = load.exact_requests, load.most_requests
    if exact is not None and phase.issued != exact:
        yield f"issued is {phase.issued}, and {exact} requests were asked for"
    elif most_requests is not None and phase.issued > most_requests:
        yield f"issued is {phase.issued}, and at most {most_requests} requests were asked for"
    most = load.peak_in_flight
    if load.pattern == "concurrency" and most is not None:
        reached = load.ramp_s > 0 or phase.issued < most or phase.peak_in_flight >= most
        if phase.peak_in_flight > most or not reached:
            yield f"peak_in_flight is {phase.peak_in_flight}, and a concurrency of {most} was asked for"
    if load.max_concurrency is not None and phase.peak_in_flight > load.max_concurrency:
        yield f"peak_in_flight is {phase.peak_in_flight}, and at most {load.max_concurrency} were asked for"
