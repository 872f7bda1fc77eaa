"""Whether the leases of different points overlapped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

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


def faults_of(point: ExpectedPoint, leases: Iterable[Lease]) -> Iterator[str]:
    """Yield a sentence for each problem with the leases of a measured point."""
    own = [lease for lease in leases if lease.point == point.id]
    for scope in point.leases:
        if not any(lease.scope == scope for lease in own):
            yield f"no lease on its {scope} was recorded: another point may have disturbed it"
    for lease in own:
        if lease.end_ns is None:
            yield f"its lease on {lease.scope} {lease.resource} was never released: its run was cut off"
        elif lease.end_ns < lease.start_ns:
            yield f"its lease on {lease.scope} {lease.resource} ends before it starts: the event log is damaged"
