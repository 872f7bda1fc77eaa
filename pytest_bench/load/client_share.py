"""The client's share of a phase's numbers, from its request records: turnaround, vacancy, lateness and pace.

A load worker adds each record when it writes it down, and `verify` adds the records of a log again. The result does not
depend on the order of the records.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from pytest_bench.load.windows import WINDOW_NS, low
from pytest_bench.records import Quantiles, RequestRecord, WorkerReport


class ClientShare:
    """The requests of one load worker in one phase."""

    def __init__(self, *, capped: bool = False) -> None:
        """`capped`: an open loop in which requests may wait for a place. While they do, it is like a closed loop."""
        self._capped = capped
        self._turnarounds_ns, self._lateness_ns = array("q"), array("q")
        self._vacant, self._busy = Counter[int](), Counter[int]()
        """Nanoseconds by second of CLOCK_MONOTONIC."""
        self._vacant_from_ns = self._vacant_until_ns = 0
        self._latest: dict[int, tuple[int, int]] = {}
        """By second: when its last request was sent, and when that was due."""
        self._earliest: tuple[int, int] | None = None
        self._scheduled_ns: tuple[int, int] | None = None
        """The first and the last."""
        self._last_due_ns, self._held = 0, 0

    def add(self, record: RequestRecord, *, paced: bool) -> None:
        """Add a request, however it ended. `paced`: its time of issue was scheduled (open loop)."""
        if paced:
            # A request that never got a connection was not sent.
            if record.scheduled_ns is not None and record.request_sent_ns is not None:
                self._add_paced(record.send_start_ns, record.scheduled_ns, record.place_free_ns)
            if not self._capped:
                return
        sent_ns, turnaround_ns = record.send_start_ns, record.turnaround_ns
        if turnaround_ns is not None:
            since_ns = sent_ns - turnaround_ns
            if not self._turnarounds_ns or since_ns < self._vacant_from_ns:
                self._vacant_from_ns = since_ns
            self._vacant_until_ns = max(self._vacant_until_ns, sent_ns)
            self._turnarounds_ns.append(turnaround_ns)
            _spread(self._vacant, since_ns, sent_ns)
        if record.outcome == "succeeded":
            _spread(self._busy, sent_ns, record.end_ns)

    def _add_paced(self, sent_ns: int, scheduled_ns: int, place_free_ns: int | None) -> None:
        due_ns = scheduled_ns
        if place_free_ns is not None:
            due_ns = max(scheduled_ns, place_free_ns)
            self._held += 1
        self._last_due_ns = max(self._last_due_ns, due_ns)
        self._lateness_ns.append(sent_ns - due_ns)
        point = (sent_ns, due_ns)
        second = sent_ns // WINDOW_NS
        self._latest[second] = max(self._latest.get(second, point), point)
        self._earliest = min(self._earliest or point, point)
        first_ns, last_ns = self._scheduled_ns or (scheduled_ns, scheduled_ns)
        self._scheduled_ns = min(first_ns, scheduled_ns), max(last_ns, scheduled_ns)

    def report(self, into: WorkerReport) -> None:
        """Fill in the fields of a report that come from records."""
        into.turnaround_ms = quantiles_ms(self._turnarounds_ns)
        into.schedule_lateness_ms = quantiles_ms(self._lateness_ns)
        into.achieved_share_p1 = low(self._paces())
        into.vacant_ns, into.busy_ns = self._vacant.total(), self._busy.total()
        if self._turnarounds_ns:
            into.vacant_from_ns, into.vacant_until_ns = self._vacant_from_ns, self._vacant_until_ns
            into.seconds = tuple(
                (second, self._vacant[second], self._busy[second])
                for second in sorted(self._vacant.keys() | self._busy.keys())
            )
        if self._scheduled_ns is not None:
            into.first_scheduled_ns, into.last_scheduled_ns = self._scheduled_ns
        if self._held:
            into.held, into.last_due_ns = self._held, self._last_due_ns

    def _paces(self) -> list[float]:
        """For each window, due time that was reached in it / its length, ascending.

        1 if the client keeps up, whatever the schedule and the server are. Windows end with a request and last a second
        or more. Empty if there are fewer than two, because the whole phase is then sufficient.
        """
        if self._earliest is None:
            return []
        marks = [self._earliest]
        for second in sorted(self._latest):
            if self._latest[second][0] - marks[-1][0] >= WINDOW_NS:
                marks.append(self._latest[second])
        if len(marks) < 3:
            return []
        marks[-1] = self._latest[max(self._latest)]  # the rest joins the last window
        return sorted((due - before[1]) / (sent - before[0]) for before, (sent, due) in pairwise(marks))


def vacancy_by_second(reports: Iterable[WorkerReport]) -> list[float]:
    """Vacancy of each second, all load workers together, ascending.

    Counts from the first turnaround to the last. Incomplete seconds are merged into their neighbours. Empty if fewer
    than two are complete, because the vacancy of the whole phase is then sufficient.
    """
    known = [report for report in reports if report.seconds]
    if not known:
        return []
    from_ns = min(report.vacant_from_ns for report in known)
    until_ns = max(report.vacant_until_ns for report in known)
    first, last = -(-from_ns // WINDOW_NS), until_ns // WINDOW_NS - 1
    vacant, busy = Counter[int](), Counter[int]()
    for report in known:
        for second, vacant_ns, busy_ns in report.seconds:
            if from_ns // WINDOW_NS <= second <= until_ns // WINDOW_NS:
                vacant[min(max(second, first), last)] += vacant_ns
                busy[min(max(second, first), last)] += busy_ns
    if last <= first:
        return []
    return sorted(share(vacant[second], busy[second]) for second in range(first, last + 1))


def share(vacant_ns: int, busy_ns: int) -> float:
    """Vacancy: turnaround / (turnaround + latency); 0 if there is neither."""
    held_ns = vacant_ns + busy_ns
    return vacant_ns / held_ns if held_ns else 0.0


def quantiles_ms(values_ns: array[int]) -> Quantiles | None:
    """p50, p99 and maximum in milliseconds, each an observed value; None for no values."""
    if not values_ns:
        return None
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return Quantiles(
        p50=ordered[last * 50 // 100] / 1e6, p99=ordered[last * 99 // 100] / 1e6, max=ordered[last] / 1e6
    )


def _spread(into: Counter[int], start_ns: int, end_ns: int) -> None:
    """Add the time from `start_ns` to `end_ns` to its seconds."""
    second = start_ns // WINDOW_NS
    while (edge_ns := (second + 1) * WINDOW_NS) < end_ns:
        into[second] += edge_ns - start_ns
        start_ns, second = edge_ns, second + 1
    into[second] += end_ns - start_ns
