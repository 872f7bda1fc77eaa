"""Rates at which phases are compared, so that no request that failed helps to pass.

`Run.throughput` is MLPerf's: successes over the whole window, in which failures took their time. A phase that must
not be fast would pass by slow failures, and one that must be fast by quick failures. So the first is judged by
`upper_rate` and the second by `lower_rate`. Both are MLPerf's rate, to the bit, where no request failed. For any
requests whatever, with the others left as they are, one more failure never lowers `upper_rate` and never raises
`lower_rate`.

How long a server worked on a request that failed, and how long it let it wait, a client cannot tell. `upper_rate`
takes it for waiting as others do; `ceiling_rate` is what the rate may have been at most. Between the two lies
what nobody knows.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from pytest_bench.audits.contract import Flight, Run


def lower_rate(run: Run) -> float:
    """Succeeded requests per second, at most: a failure took as long as the mean success, if not longer.

    The window is lengthened by what failures saved, in proportion: all successes together took the window.
    """
    if not run.failed:
        return run.throughput
    spent = sum(flight.length_ns for flight in run.succeeded)
    # Multiplied by the number of successes, so that it stays whole.
    saved = sum(max(0, spent - flight.length_ns * len(run.succeeded)) for flight in run.failed)
    return run.throughput / (1.0 + saved / max(1, spent * len(run.succeeded)))


def upper_rate(run: Run, *, beside: Run) -> float:
    """Succeeded requests per second, at least: without the time that failures took of the phase.

    That time is the greater of two accounts. By the first, every instant is shared equally among the requests
    in flight, and successes took their shares: with one request in flight, the time of the successes alone. The
    second is for servers on which requests wait for each other: where a request failed between two successes,
    the time up to its end is left out as far as it is longer than any time between two successes that no failure
    came into, in this phase or in the one `beside` it.
    """
    if not run.failed:
        return run.throughput
    stretches = [*_stretches(run), *_stretches(beside)]
    longest_ns = max((length_ns for length_ns, waited_ns in stretches if not waited_ns), default=0)
    own = list(_stretches(run))
    unhindered_ns = sum(length_ns - max(0, waited_ns - longest_ns) for length_ns, waited_ns in own)
    # Successes that took no time at all have no rate; a nanosecond stands in for it.
    return run.completed / (max(1, min(_shared_ns(run), unhindered_ns)) / 1e9)


def ceiling_rate(run: Run) -> float:
    """Succeeded requests per second that the server cannot have exceeded, had it never been sent those that failed.

    For any server that works on some number of requests at a time, on each until it is done, and is never idle
    while one waits; in whatever order, and however many that is, up to the most that were in flight. For each
    number there is a least time that the successes alone would have taken, and the least of these counts:

    - never less than the time in which a request was in flight and none that failed: taken up in the
      same order, fewer and shorter jobs are not done later,
    - with one at a time: what is left when, in every stretch from success to success, the time up to the last
      failure is left out,
    - with s at a time: the work of s, less that on failures, of which each may have held one all its life, spread
      over all s.

    Infinite where nothing is left.
    """
    occupied, lost = _at_least((*run.succeeded, *run.failed)), _at_least(run.failed)
    untouched_ns = occupied[0] - lost[0]
    least_ns = max(untouched_ns, sum(length_ns - waited_ns for length_ns, waited_ns in _stretches(run)))
    work_ns = untouched_ns
    for slots, (busy_ns, lost_ns) in enumerate(itertools.zip_longest(occupied[1:], lost[1:], fillvalue=0), 2):
        work_ns += busy_ns - lost_ns
        least_ns = min(least_ns, max(untouched_ns, work_ns // slots))
    return run.completed / (least_ns / 1e9) if least_ns else math.inf


def _at_least(flights: Sequence[Flight]) -> list[int]:
    """Nanoseconds in which at least one was in flight, at least two, and so on up to the most there were."""
    times = [0]
    then_ns = in_flight = 0
    for now_ns, _, more in sorted(_changes(flights, 0)):
        if now_ns > then_ns and in_flight:
            times.extend([0] * (in_flight - len(times)))
            times[in_flight - 1] += now_ns - then_ns
        then_ns, in_flight = now_ns, in_flight + more
    return [*itertools.accumulate(reversed(times))][::-1]


def _shared_ns(run: Run) -> int:
    """Nanoseconds that successes took, each instant shared equally by the requests in flight."""
    taken_ns = then_ns = successes = in_flight = 0
    for now_ns, more_successes, more in sorted((*_changes(run.succeeded, 1), *_changes(run.failed, 0))):
        if now_ns > then_ns and successes:
            # Rounded down: one more failure divides times further, and must not lengthen their sum.
            taken_ns += successes * (now_ns - then_ns) // in_flight
        then_ns, successes, in_flight = now_ns, successes + more_successes, in_flight + more
    return taken_ns


def _changes(flights: Sequence[Flight], success: int) -> Iterator[tuple[int, int, int]]:
    """When requests in flight become more or fewer: of successes, and of all."""
    for flight in flights:
        yield flight.start_ns, success, 1
        yield flight.end_ns, -success, -1


def _stretches(run: Run) -> Iterator[tuple[int, int]]:
    """From success to success, beginning when the first was sent: how long, and the time up to the last failure."""
    failures = sorted(flight.end_ns for flight in run.failed)
    then_ns = min(flight.start_ns for flight in run.succeeded)
    for flight in run.succeeded:
        place = bisect_right(failures, flight.end_ns)
        waited_ns = failures[place - 1] - then_ns if place else 0
        yield flight.end_ns - then_ns, max(0, waited_ns)
        then_ns = flight.end_ns
