"""Whether the client was the bottleneck: the reports of all load workers, compared with the budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from pytest_bench.load.client_share import share, vacancy_by_second
from pytest_bench.load.windows import high
from pytest_bench.records import ClientHealth, Quantiles, WorkerReport
from pytest_bench.workload import OPEN_LOOP, HealthBudget, Load

_CONNECTING = (
    "they waited for new connections, which took that long; let a warm-up of the same load open them, or drive the "
    "load from a machine nearer to the server"
)
_CLOSED_LOOP = frozenset({"concurrency", "burst"})


def client_health(load: Load, reports: Sequence[WorkerReport], budget: HealthBudget) -> ClientHealth:
    """The health of all load workers of a phase. Shares are fractions."""
    lateness = _worst(report.schedule_lateness_ms for report in reports)
    asked, achieved = _concurrency(load, reports) if load.pattern in _CLOSED_LOOP else (None, None)
    possible: float | None = None
    if load.pattern in OPEN_LOOP and lateness is not None:
        asked, possible, achieved = _rate(reports, lateness)
    whole = None if achieved is None or not possible else achieved / possible
    held = sum(report.held for report in reports)
    ran = [report for report in reports if report.wall_s > 0]
    vacant_ns, busy_ns = (
        sum(getattr(report, name) for report in reports) for name in ("vacant_ns", "busy_ns")
    )
    vacancy = share(vacant_ns, busy_ns) if vacant_ns else None
    vacancy_p99 = high(vacancy_by_second(reports))
    health = ClientHealth(
        workers=len(reports),
        client_lag_ms=_worst(report.client_lag_ms for report in reports),
        turnaround_ms=_worst(report.turnaround_ms for report in reports),
        schedule_lateness_ms=lateness,
        vacancy=vacancy,
        vacancy_p99=vacancy if vacancy_p99 is None else vacancy_p99,
        cpu_share=max((report.cpu_s / report.wall_s for report in ran), default=0.0),
        cpu_share_p99=max(
            (
                report.cpu_s / report.wall_s if report.cpu_share_p99 is None else report.cpu_share_p99
                for report in ran
            ),
            default=0.0,
        ),
        asked=asked,
        achieved=achieved,
        possible=possible if held else None,
        held=held,
        achieved_share_p1=min(_known(report.achieved_share_p1 for report in reports), default=whole),
        reads=sum(report.reads for report in reports),
        user_stamped_reads=sum(report.user_stamped_reads for report in reports),
        clock_steps=max((report.clock_steps for report in reports), default=0),
        clock_error_ns=max((report.clock_error_ns for report in reports), default=0),
    )
    if not any(report.succeeded for report in reports):
        return health  # requests that are refused at once keep any client busy
    violations = [*_violations(load, health, budget, reports), *_peak_violations(load, reports)]
    return replace(health, violations=tuple(violations))


def _violations(
    load: Load, health: ClientHealth, budget: HealthBudget, reports: Sequence[WorkerReport]
) -> Iterator[str]:
    lower = "rate" if load.pattern in OPEN_LOOP else "load" if load.stages else "concurrency"
    if load.pattern in _CLOSED_LOOP and (load.peak_in_flight or 0) <= health.workers:
        # One request per load worker: more workers or less load would not help.
        remedy = "give the client a machine, or cores, that nothing else uses"
    else:
        remedy = (
            f"set `workers:` above {health.workers}, for fewer requests per load worker, or lower the {lower}; on a "
            "machine that others use, give the client cores of its own"
        )
    lateness = health.schedule_lateness_ms
    if lateness is not None and lateness.p99 > budget.schedule_lateness_ms:
        issued = _worst(report.issue_lateness_ms for report in reports)
        connecting = issued is not None and issued.p99 <= budget.schedule_lateness_ms
        yield (
            f"requests left {lateness.p99:.1f} ms late at p99, over the budget of "
            f"{budget.schedule_lateness_ms:g} ms: {_CONNECTING if connecting else remedy}"
        )
    yield from _share_violations(
        "{:.1%} of the concurrency was missing while the client had not sent the next request",
        (health.vacancy, budget.vacancy),
        (health.vacancy_p99, max(budget.vacancy, budget.vacancy_p99)),
        remedy,
    )
    yield from _share_violations(
        "a load worker used {:.0%} of a core",
        (health.cpu_share, budget.cpu_share),
        (health.cpu_share_p99, budget.cpu_share),
        remedy,
    )
    yield from _rate_violations(load, health, budget.achieved_share, remedy)


def _share_violations(
    what: str, whole: tuple[float | None, float], p99: tuple[float | None, float], remedy: str
) -> Iterator[str]:
    """Violations of a share's budget: over the whole phase, otherwise in its seconds."""
    (share, limit), (share_p99, limit_p99) = whole, p99
    if share is not None and share > limit:
        yield f"{what.format(share)}, over the budget of {limit:.0%}: {remedy}"
    elif share is not None and share_p99 is not None and share_p99 > limit_p99:
        yield (
            f"{what.format(share_p99)} at p99 of the phase's seconds ({share:.1%} over all of it), over the budget of "
            f"{limit_p99:.0%}: {remedy}"
        )


def _rate_violations(load: Load, health: ClientHealth, limit: float, remedy: str) -> Iterator[str]:
    """Violations of the achieved rate: over the whole phase, otherwise in its seconds."""
    achieved, p1 = health.achieved, health.achieved_share_p1
    possible = health.asked if health.possible is None else health.possible
    if load.pattern in OPEN_LOOP and possible and achieved is not None and achieved < limit * possible:
        what = "asked for" if health.possible is None else "that had a free place"
        yield (
            f"{achieved:.1f} of the {possible:g} requests/s {what} were achieved, under the budget of {limit:.0%}: "
            f"{remedy}"
        )
    elif p1 is not None and p1 < limit:
        yield (
            f"{p1:.0%} of what was asked for was achieved at p1 of the phase's seconds, under the budget of "
            f"{limit:.0%}: {remedy}"
        )


def _peak_violations(load: Load, reports: Sequence[WorkerReport]) -> Iterator[str]:
    """Violation if full concurrency was never reached because a load worker was late and others took its share.

    Not judged with a ramp, during which requests may run out, or if the run was stopped.
    """
    if load.pattern != "concurrency" or load.ramp_s > 0 or not all(report.over for report in reports):
        return
    asked = load.peak_in_flight or 0
    peak = sum(report.peak_in_flight for report in reports)
    if peak < asked <= sum(report.issued for report in reports):
        yield (
            f"never more than {peak} requests were in flight, and {asked} were asked for: give the client a machine, "
            "or cores, that nothing else uses, or ask for more requests, so that every load worker has its part"
        )


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _worst(values: Iterable[Quantiles | None]) -> Quantiles | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Quantiles(
        p50=max(value.p50 for value in known),
        p99=max(value.p99 for value in known),
        max=max(value.max for value in known),
    )


def _rate(
    reports: Sequence[WorkerReport], lateness: Quantiles
) -> tuple[float, float, float] | tuple[None, None, None]:
    """Requested, possible and achieved mean rate from the first request to the last; None if there is only one.

    Possible is what the places of `max_concurrency` allowed. The latest hundredth is excluded, as in every budget,
    because a short stall is not a lack of capacity.
    """
    first_ns = min(_known(report.first_scheduled_ns for report in reports))
    asked_s = (max(_known(report.last_scheduled_ns for report in reports)) - first_ns) / 1e9
    dues_ns = (report.last_due_ns or report.last_scheduled_ns for report in reports)
    possible_s = (max(_known(dues_ns)) - first_ns) / 1e9
    gaps = sum(report.issued for report in reports) - 1
    if asked_s <= 0:
        return None, None, None
    return gaps / asked_s, gaps / possible_s, gaps / (possible_s + lateness.p99 / 1e3)


def _concurrency(load: Load, reports: Sequence[WorkerReport]) -> tuple[float, float | None]:
    """Requested concurrency, and the mean in flight from full load to the last issue; None if a load worker never had
    its share in flight because the requests ran out first."""
    asked, achieved = float(load.peak_in_flight or 0), 0.0
    for report in reports:
        full_ns, last_ns = report.full_load_ns, report.last_issue_ns
        if full_ns is None or last_ns is None or last_ns <= full_ns:
            return asked, None
        achieved += report.in_flight_ns / (last_ns - full_ns)
    return asked, achieved
