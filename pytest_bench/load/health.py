"""Whether the client itself was the bottleneck: load workers' accounts taken together, against the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_bench.records import ClientHealth, Quantiles, WorkerReport
from pytest_bench.workload import OPEN_LOOP, HealthBudget, Load

_CLOSED_LOOP = frozenset({"concurrency", "burst"})


def client_health(
    load: Load, reports: Sequence[WorkerReport], budget: HealthBudget, *, last_arrival_ns: int
) -> ClientHealth:
    """The health of all load workers of a phase: of each figure, the worst worker's.

    `last_arrival_ns`: when an open-loop phase wanted its last request issued, after its start. Shares are
    fractions of wall time.
    """
    lag = _worst([report.loop_lag_ms for report in reports])
    lateness = _worst([report.schedule_lateness_ms for report in reports])
    cpu = max((report.cpu_s / report.wall_s for report in reports if report.wall_s > 0), default=0.0)
    callbacks = max(
        (report.callback_s / report.wall_s for report in reports if report.wall_s > 0), default=0.0
    )
    asked, achieved = _concurrency(load, reports) if load.pattern in _CLOSED_LOOP else (None, None)
    if load.pattern in OPEN_LOOP and lateness is not None and last_arrival_ns > 0:
        # The latest hundredth is left out, as in every budget: a machine's stutter is no lack of capacity.
        issued, span_s = sum(report.issued for report in reports), last_arrival_ns / 1e9
        asked, achieved = issued / span_s, issued / (span_s + lateness.p99 / 1e3)
    health = ClientHealth(
        workers=len(reports),
        loop_lag_ms=lag,
        schedule_lateness_ms=lateness,
        cpu_share=cpu,
        callback_share=callbacks,
        asked=asked,
        achieved=achieved,
    )
    return ClientHealth(
        **{name: getattr(health, name) for name in health.__struct_fields__ if name != "violations"},
        violations=tuple(_violations(load, health, budget)),
    )


def _violations(load: Load, health: ClientHealth, budget: HealthBudget) -> Iterator[str]:
    lower = "rate" if load.pattern in OPEN_LOOP else "load" if load.stages else "concurrency"
    remedy = (
        f"set `workers:` above {health.workers}, for fewer requests per load worker, or lower the {lower}"
    )
    lag, lateness = health.loop_lag_ms, health.schedule_lateness_ms
    if lag is not None and lag.p99 > budget.loop_lag_ms:
        yield f"event-loop lag p99 was {lag.p99:.1f} ms, over the budget of {budget.loop_lag_ms:g} ms: {remedy}"
    if lateness is not None and lateness.p99 > budget.schedule_lateness_ms:
        yield (
            f"requests left {lateness.p99:.1f} ms late at p99, over the budget of "
            f"{budget.schedule_lateness_ms:g} ms: {remedy}"
        )
    if health.cpu_share > budget.cpu_share:
        yield (
            f"a load worker used {health.cpu_share:.0%} of a core, over the budget of {budget.cpu_share:.0%}: "
            f"{remedy}"
        )
    if health.callback_share > budget.callback_share:
        yield (
            f"a load worker spent {health.callback_share:.0%} of its time in callbacks, over the budget of "
            f"{budget.callback_share:.0%}: {remedy}"
        )
    if (
        health.asked
        and health.achieved is not None
        and health.achieved < budget.achieved_share * health.asked
    ):
        unit = "requests/s" if load.pattern in OPEN_LOOP else "requests in flight"
        yield (
            f"{health.achieved:.1f} of the {health.asked:g} {unit} asked for were achieved, under the budget of "
            f"{budget.achieved_share:.0%}: {remedy}"
        )


def _worst(values: Sequence[Quantiles | None]) -> Quantiles | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Quantiles(
        p50=max(value.p50 for value in known),
        p99=max(value.p99 for value in known),
        max=max(value.max for value in known),
    )


def _concurrency(load: Load, reports: Sequence[WorkerReport]) -> tuple[float, float | None]:
    """Asked concurrency, and the mean in flight from full load to the last issue; None where some load
    worker never had its share in flight because the requests ran out first."""
    asked, achieved = float(load.concurrency or 0), 0.0
    for report in reports:
        full_ns, last_ns = report.full_load_ns, report.last_issue_ns
        if full_ns is None or last_ns is None or last_ns <= full_ns:
            return asked, None
        achieved += report.in_flight_ns / (last_ns - full_ns)
    return asked, achieved
