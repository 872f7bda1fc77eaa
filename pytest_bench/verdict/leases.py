"""Whether the leases of different points overlapped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from pytest_bench.leases import Lease
from pytest_bench.verdict.events import ExpectedPoint


def latest(events: Iterable[Lease]) -> list[Lease]:
    """One lease for each that was taken: the event of giving it back replaces that of taking it."""
    taken = {
        (lease.point, lease.worker, lease.scope, lease.resource, lease.boot_id, lease.start_ns): lease
        for lease in events
    }
    return list(taken.values())


def overlaps(leases: Iterable[Lease]) -> Iterator[tuple[Lease, Lease]]:
    """Pairs of leases on one resource that were held at the same time by different runs.

    A run is a point on a worker: its own leases may nest. Times of different boots are not comparable,
    so leases of different machines are never paired. A lease that was never given back is held for ever.
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
    """What is wrong with the leases of a point that was measured, a sentence each."""
    own = [lease for lease in leases if lease.point == point.id]
    for scope in point.leases:
        if not any(lease.scope == scope for lease in own):
            yield f"no lease on its {scope} is on record: nothing shows that no other point disturbed it"
    for lease in own:
        if lease.end_ns is None:
            yield f"its lease on {lease.scope} {lease.resource} was never given back: its run was cut off"
        elif lease.end_ns < lease.start_ns:
            yield f"its lease on {lease.scope} {lease.resource} ends before it starts: the record is damaged"
