"""What a load worker counts about a phase while it runs, and about itself."""

from __future__ import annotations

import time
from array import array

from pytest_bench.load.windows import Windows, high, low
from pytest_bench.records import Quantiles, RequestRecord, WorkerReport

BEAT_NS = 10_000_000
"""How often a load worker looks whether its event loop is late."""


class Tally:
    """Running account of one phase in one load worker."""

    def __init__(self, worker: int) -> None:
        self.report = WorkerReport(worker=worker)
        self.in_flight = 0
        """Issued, and not yet written down."""
        self.awaited = 0
        """Issued, and not yet over."""
        self.events = 0
        self.lags_ns = array("q")
        self.lateness_ns = array("q")
        self.callback_ns = 0
        self._begun_ns: int | None = None
        self._begun_cpu_ns = 0
        self._area = 0
        self._area_at_ns = 0
        self._cpu, self._callbacks, self._load = Windows(), Windows(), Windows()
        self._earlier_legs_ns = (0, 0)
        self._share = 0
        self._loaded_from_ns: int | None = None
        self._area_before = 0

    @property
    def begun(self) -> bool:
        return self._begun_ns is not None

    def begin(self) -> None:
        self._begun_ns = time.monotonic_ns()
        self._begun_cpu_ns = time.process_time_ns()

    def enter(self, *, share: int = 0, start_ns: int | None = None) -> None:
        """A leg begins: of `share` requests in flight once they are, or of arrivals that count from `start_ns`."""
        self._earlier_legs_ns = self._asked_and_achieved_ns()
        self._share, self._loaded_from_ns = share, start_ns
        if not share and start_ns is None:  # fewer requests in flight than load workers
            self._fully_loaded(time.monotonic_ns())

    def occupied(self, until_ns: int, in_flight: int) -> None:
        """`in_flight` requests, of whatever phase, were in flight until now. Called before every change."""
        if self.report.full_load_ns is not None and until_ns > self._area_at_ns:
            self._area += in_flight * (until_ns - self._area_at_ns)
            self._area_at_ns = until_ns

    def issued(self, now_ns: int, in_flight: int) -> None:
        """A request is being issued; `in_flight` counts it, and those of other phases, too."""
        report = self.report
        report.issued += 1
        self.in_flight += 1
        self.awaited += 1
        if report.first_issue_ns is None:
            report.first_issue_ns = now_ns
        report.last_issue_ns = now_ns
        report.peak_in_flight = max(report.peak_in_flight, in_flight)
        report.in_flight_ns = self._area
        if self.awaited == self._share and self._loaded_from_ns is None:
            self._fully_loaded(now_ns)

    def _fully_loaded(self, now_ns: int) -> None:
        """The whole share of concurrency is in flight from now on, and none of it is another phase's: requests
        of a warm-up that end meanwhile are nobody's throughput."""
        if self.report.full_load_ns is None:
            self.report.full_load_ns = self._area_at_ns = now_ns
        self._loaded_from_ns, self._area_before = self._area_at_ns, self._area

    def _asked_and_achieved_ns(self) -> tuple[int, int]:
        """For how long load was asked for, up to the last issue, and for how long there was as much as asked.

        Closed loop: from full load on, requests in flight for each of the share. Open loop: from the start of the
        schedule, how far it was carried out: whatever arrivals it draws, who keeps up is at its own time, and who
        issues half as fast as it asks is at half of it.
        """
        asked_ns, achieved_ns = self._earlier_legs_ns
        from_ns, until_ns = self._loaded_from_ns, self.report.last_issue_ns
        if from_ns is None or until_ns is None or until_ns <= from_ns:
            return asked_ns, achieved_ns
        if self._share:
            carried_ns = (self.report.in_flight_ns - self._area_before) // self._share
        else:
            carried_ns = until_ns - self.lateness_ns[-1] - from_ns
        return asked_ns + until_ns - from_ns, achieved_ns + carried_ns

    def beat(self, now_ns: int, late_ns: int) -> None:
        """The event loop is at its heartbeat, which was due `late_ns` ago. It stands for those that it kept from
        happening, too, each as late as it would have been: so a share of beats is a share of time."""
        self.lags_ns.extend(range(max(0, late_ns), -1, -BEAT_NS))
        elapsed_ns = now_ns - self._begun_ns if self._begun_ns is not None else 0
        if self._cpu.due(elapsed_ns):
            self._cpu.mark(elapsed_ns, time.process_time_ns() - self._begun_cpu_ns)
            self._callbacks.mark(elapsed_ns, self.callback_ns)
        asked_ns, achieved_ns = self._asked_and_achieved_ns()
        if self._load.due(asked_ns):
            self._load.mark(asked_ns, achieved_ns)

    def ended(self, record: RequestRecord) -> None:
        """A request has ended, and this is its record."""
        report = self.report
        self.in_flight -= 1
        self.events += record.content_event_count
        match record.outcome:
            case "succeeded":
                report.succeeded += 1
            case "failed":
                report.failed += 1
                kind = record.error or "unknown"
                report.failures[kind] = report.failures.get(kind, 0) + 1
            case "interrupted":
                report.interrupted += 1
                return
        report.resent += record.resent
        report.last_completion_ns = max(report.last_completion_ns or 0, record.end_ns)

    def settle(self) -> None:
        """The next phase begins, or none follows: the time that counts as this phase's is over."""
        report = self.report
        if self._begun_ns is None or report.wall_s > 0:
            return
        wall_ns = time.monotonic_ns() - self._begun_ns
        cpu_ns = time.process_time_ns() - self._begun_cpu_ns
        report.wall_s, report.cpu_s = wall_ns / 1e9, cpu_ns / 1e9
        report.callback_s = min(self.callback_ns, wall_ns) / 1e9  # an estimate: some reads stand for others
        report.cpu_share_p99 = high(self._cpu.shares(wall_ns, cpu_ns))
        report.callback_share_p99 = high(self._callbacks.shares(wall_ns, self.callback_ns))
        report.achieved_share_p1 = low(self._load.shares(*self._asked_and_achieved_ns()))

    def close(self) -> None:
        """The last request has ended: say what is known of the phase's health."""
        self.settle()
        self.report.loop_lag_ms = quantiles_ms(self.lags_ns)
        self.report.schedule_lateness_ms = quantiles_ms(self.lateness_ns)


def quantiles_ms(values_ns: array[int]) -> Quantiles | None:
    """p50, p99 and maximum in milliseconds, each a value that occurred; None of nothing."""
    if not values_ns:
        return None
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return Quantiles(
        p50=ordered[last * 50 // 100] / 1e6, p99=ordered[last * 99 // 100] / 1e6, max=ordered[last] / 1e6
    )
