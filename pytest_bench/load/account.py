"""Combines the reports of all load workers into the result of a phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pytest_bench.errors import LoadError
from pytest_bench.load.health import client_health
from pytest_bench.records import PhaseResult, WorkerReport
from pytest_bench.workload import OPEN_LOOP, HealthBudget, Load


def combine(
    reports: Sequence[WorkerReport],
    load: Load,
    budget: HealthBudget,
    *,
    label: str,
    folder: str,
    start_ns: int,
) -> PhaseResult:
    """The result of a phase. Raises `LoadError` if requests are missing from the counts."""
    failures = Counter[str]()
    for report in reports:
        failures.update(report.failures)
    issued = sum(report.issued for report in reports)
    succeeded = sum(report.succeeded for report in reports)
    failed = sum(report.failed for report in reports)
    interrupted = sum(report.interrupted for report in reports)
    if issued != succeeded + failed + interrupted:
        raise LoadError(
            f"phase {label!r} lost requests: {issued} issued, but {succeeded} succeeded, {failed} failed "
            f"and {interrupted} were interrupted"
        )
    return PhaseResult(
        label=label,
        folder=folder,
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
        full_load_ns=_full_load(load, reports, start_ns),
        peak_in_flight=sum(report.peak_in_flight for report in reports),
        health=client_health(load, reports, budget),
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
