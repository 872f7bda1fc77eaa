"""Whether the leases of different points overlapped, and whether those of a point cover its requests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from pytest_bench.leases import Lease
from pytest_bench.verdict.events import ExpectedPoint


def latest(events: Iterable[Lease]) -> list[Lease]:
    """Return one record per lease: the event of its release replaces the event of its acquisition."""
    taken = {
        (lease.point, lease.worker, lease.scope, lease.resource, lease.boot_id, lease.start_ns): lease
        for lease in events
    }
    return list(taken.values())


def overlaps(leases: Iterable[Lease]) -> Iterator[tuple[Lease, Lease]]:
    """Yield pairs of leases on one resource that different runs held at the same time.

    A run is a point on a worker; its own leases may overlap. Times of different boots are not comparable, so leases
    of different machines are never paired. A lease without a release counts as held until now.
    """
    shared: dict[tuple[str, str, str], list[Lease]] = defaultdict(list)
    for lease in leases:
        shared[lease.scope, lease.resource, lease.boot_id].append(lease)
    for group in shared.values():
        held: list[Lease] = []
        for lease in sorted(group, key=lambda item: item.start_ns):
            held = [other for other in held if other.end_ns is None or other.end_ns > lease.start_ns]
            for other in held:
                if (other.point, other.worker) != (lease.point, lease.worker):
                    yield other, lease
            held.append(lease)


def faults_of(
    point: ExpectedPoint, leases: Iterable[Lease], requests_ns: tuple[int, int] | None
) -> Iterator[str]:
    """Yield a sentence for each problem with the leases of a measured point.

    `requests_ns`: when its first request was sent and its last one ended, if it sent any.
    """
    own = [lease for lease in leases if lease.point == point.id]
    for scope in point.leases:
        of_scope = [lease for lease in own if lease.scope == scope]
        if not of_scope:
            yield f"no lease on its {scope} was recorded: another point may have disturbed it"
        elif requests_ns is not None and (open_to_others := _uncovered(of_scope, *requests_ns)):
            yield (
                f"its lease on {scope} {', '.join(open_to_others)} was not held from its first request to the end of "
                "its last: another point may have disturbed it"
            )
    for lease in own:
        if lease.end_ns is None:
            yield f"its lease on {lease.scope} {lease.resource} was never released: its run was cut off"
        elif lease.end_ns < lease.start_ns:
            yield f"its lease on {lease.scope} {lease.resource} ends before it starts: the event log is damaged"
        elif lease.lost:
            yield (
                f"its lease on {lease.scope} {lease.resource} was lost before it ended: another session may have "
                "disturbed it"
            )


def _uncovered(leases: Sequence[Lease], first_ns: int, last_ns: int) -> list[str]:
    """Return the resources that were held during some of the requests between two times, but not during all.

    Leases entirely before or after the requests belong to the deployment's start and are ignored, unless the point has
    no other.
    """
    held, covered = set(), set()
    for lease in leases:
        end_ns = last_ns if lease.end_ns is None else lease.end_ns
        if lease.start_ns <= first_ns and end_ns >= last_ns:
            covered.add(lease.resource)
        elif lease.start_ns < last_ns and end_ns > first_ns:
            held.add(lease.resource)
    if not covered and not held:
        held = {lease.resource for lease in leases}
    return sorted(held - covered)
