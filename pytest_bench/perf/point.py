"""Runs one performance point, from its phases to its judgement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.bounds import Bound
from pytest_bench.endpoints.actions import reset_cache
from pytest_bench.errors import UsageError
from pytest_bench.labels import Label
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.names import open_loop_name
from pytest_bench.records import WARMUP, PhaseResult
from pytest_bench.results.details import PerfDetail
from pytest_bench.running.counting import Counted, count_phase, live_lane
from pytest_bench.running.deployment import Deployment
from pytest_bench.running.labels import labels_of
from pytest_bench.running.measured import MeasuredPoint
from pytest_bench.running.measuring import (
    measure_phase,
    untrustworthy,
    unwarmed,
    with_errors,
    with_failures,
    write_point,
)
from pytest_bench.running.phases import DeclaredPhase, drive
from pytest_bench.running.replicas import differences
from pytest_bench.running.resources import Resources
from pytest_bench.running.samples import Share
from pytest_bench.running.server_counts import count_inputs_by_server
from pytest_bench.running.server_side import ServerSide
from pytest_bench.running.session import SILENT, Reporter, SessionFacts
from pytest_bench.running.sharing import sends_again, share_of
from pytest_bench.running.simulator_bound import simulator_bound
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.verdict.judge import judge
from pytest_bench.verdict.outcome import Judgement
from pytest_bench.workload import SampleOrder

MEASURED = "measured"
CACHED_SHARE = 0.1
"""Of the input tokens: a server that takes more than this from its cache makes a point `server-cached`."""
KEPT_RATE = 0.95
"""Of the scheduled rate: a point that sent less because of `max_concurrency` is `held-back`."""


def run_perf(
    session: SessionFacts,
    resources: Resources,
    point: Point,
    deployment: Deployment,
    reporter: Reporter = SILENT,
) -> MeasuredPoint:
    """Drive the point's phases, measure the last, judge it, and write the evidence.

    Raises `UsageError`, `DatasetError`, `LoadError` or `TokensError` if the point cannot be judged.
    """
    if point.load is None or point.dataset is None:
        raise UsageError(f"{point.origin}: a performance point needs a load and a dataset")
    dataset = resources.dataset(point.suite, point.dataset)
    rows = dataset.rows
    share = share_of(session.plan, point, len(rows))
    require_own_rows(point, share, len(rows))
    if share.shared and deployment.plan.cache_reset is not None:
        for target in deployment.targets:
            reset_cache(target.url, deployment.plan.cache_reset, headers=deployment.headers)
    phases = list(phases_of(point, share))
    # Loaded before the load starts, so that a tokenizer that cannot be loaded costs no measurement.
    tokenizer = resources.tokenizer(deployment.plan)
    folder = session.folder(point) / "phases" / MEASURED
    server_side = ServerSide(session, point, deployment, reporter)
    with live_lane(tokenizer, deployment.plan, point, folder) as lane:
        results = drive(session, point, deployment, rows, phases, reporter, lane=lane)
        live = None if lane is None else lane.finish()
    server_side.finish(sum(phase.issued for phase in results))
    measured = results[-1]
    counted = count_phase(tokenizer, deployment.plan, measured, rows, texts=point.texts, live=live)
    if counted == Counted():
        counted = count_inputs_by_server(deployment, measured, rows)
    measurement, judgement = assess(deployment.plan, point, results, counted, rows)
    late = simulator_bound(results[-1:]) if deployment.simulated else []
    differ = differences([msgspec.to_builtins(identity) for identity in deployment.identities])
    labels = perf_labels(
        session.plan,
        point,
        share,
        measurement,
        measured,
        simulated=deployment.simulated,
        late=bool(late),
        differ=bool(differ),
    )
    return write_point(
        session,
        point,
        deployment,
        dataset,
        judgement=with_errors(judgement, (), list(labels)),
        measurement=measurement,
        phases=results,
        tokenizer=counted.evidence,
        detail=PerfDetail(explanation=" ".join([*late, *differ]), note=held_back(point, measured)),
    )


def assess(
    deployment: DeploymentPlan,
    point: Point,
    results: Sequence[PhaseResult],
    counted: Counted,
    rows: Sequence[Any],
    *,
    scratch: Path | None = None,
) -> tuple[Measurement, Judgement]:
    """Measure the last of a point's phases and judge it. The result depends on the logs alone.

    `rows` are those of the point's dataset. `scratch`: folder for temporary files; default: that of the logs.
    """
    if point.load is None:
        raise UsageError(f"{point.origin}: a performance point needs a load")
    bounds = tuple(bounds_of(point))
    measurement = measure_phase(
        deployment,
        results[-1],
        point.load,
        counted,
        rows,
        slo=point.slo,
        bounds=bounds,
        scratch=scratch,
    )
    problems = [*unwarmed(results[:-1]), *untrustworthy(results[-1:]), *counted.problems]
    judgement = with_errors(judge(bounds, measurement), problems)
    return measurement, with_failures(judgement, results[-1])


def bounds_of(point: Point) -> Iterator[Bound]:
    """The point's bounds. If the whole load is open loop, latencies count from the scheduled time, so that a server
    that falls behind is seen (coordinated omission). Stages that mix loops are judged as written, because requests of a
    closed loop have no scheduled time."""
    open_loop = point.load is not None and point.load.open_loop
    for bound in point.bounds:
        yield msgspec.structs.replace(bound, metric=open_loop_name(bound.metric)) if open_loop else bound


def require_own_rows(point: Point, share: Share, rows: int) -> None:
    """Raises `UsageError` if the warm-up needs rows that are not measured, and the dataset has none."""
    if point.warmup is not None and point.warmup.samples == "own" and not share.warmup and rows < 2:
        raise UsageError(
            f"{point.origin}: the warm-up of {point.id} needs samples of its own, but the dataset "
            f"{point.dataset!r} has {rows} {'row' if rows == 1 else 'rows'}; expected 2 rows or more, or "
            "`samples: salted` in the warm-up"
        )


def phases_of(point: Point, share: Share) -> Iterator[DeclaredPhase]:
    """The phases of a performance point: its warm-up, if it has one, and the measured phase."""
    if point.load is None:
        return
    order = point.samples or SampleOrder(count=0)
    if point.warmup is not None:
        salted = point.warmup.samples == "salted"
        first, count = (share.first, share.measured) if salted else (share.warmup_first, share.warmup)
        yield DeclaredPhase(
            label=WARMUP,
            load=point.warmup.load,
            samples=SampleOrder(count=count, first=first, seed=order.seed),
            salted=salted,
            handover=point.warmup.handover,
        )
    yield DeclaredPhase(
        label=MEASURED,
        load=point.load,
        samples=msgspec.structs.replace(order, first=share.first, count=share.measured),
    )


def token_labels(measurement: Measurement) -> Iterator[Label]:
    """The labels about the token counts of a point, out of `TOKEN_LABELS`."""
    source = measurement.token_source
    if source is None:
        return
    if source.output == "usage" and not source.agree:
        yield Label.SERVER_COUNTED
    if not source.template:
        yield Label.NO_TEMPLATE
    if source.mismatch:
        yield Label.TOKEN_MISMATCH


def perf_labels(
    plan: Plan,
    point: Point,
    share: Share,
    measurement: Measurement,
    result: PhaseResult,
    *,
    simulated: bool,
    late: bool,
    differ: bool,
) -> Iterator[str]:
    """The labels of a performance point. `result` is the measured phase. `late`: the simulator was the bottleneck
    (`simulator_bound`); `differ`: the endpoints differ (`replicas.differences`)."""
    minimum_s, phase = point.minimum_duration_s, measurement.phase
    shared = share.shared and plan.deployment_of(point).cache_reset is None
    return labels_of(
        point,
        [result],
        simulated=simulated,
        simulator_bound=late,
        cache_shared=shared or sends_again(plan, point, share, measurement.issued),
        too_short=minimum_s is not None and (phase is None or phase.seconds < minimum_s),
        specific=_specific_labels(measurement, slowed=bool(held_back(point, result)), differ=differ),
    )


def held_back(point: Point, phase: PhaseResult) -> str:
    """What `max_concurrency` kept from being sent on time; empty if at least `KEPT_RATE` of the rate was sent."""
    health = phase.health
    if not health.held or not health.asked or health.achieved is None or point.load is None:
        return ""
    if health.achieved >= KEPT_RATE * health.asked:
        return ""
    return (
        f"{health.achieved:.3g} of the {health.asked:.3g} requests/s that were scheduled could be sent: "
        f"{health.held} of {phase.issued} requests waited while {point.load.max_concurrency} were in flight "
        "(`max_concurrency`)"
    )


def _specific_labels(measurement: Measurement, *, slowed: bool, differ: bool) -> Iterator[Label]:
    yield from token_labels(measurement)
    if slowed:
        yield Label.HELD_BACK
    cached = measurement.metrics["server_cached_token_share"].value
    if cached is not None and cached > CACHED_SHARE:
        yield Label.SERVER_CACHED
    if differ:
        yield Label.REPLICAS_DIFFER
