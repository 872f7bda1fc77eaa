"""What a load worker counts about a phase while it runs, and about itself."""

from __future__ import annotations

import time
from array import array

from pytest_bench.records import Quantiles, RequestRecord, WorkerReport


class Tally:
    """Running account of one phase in one load worker."""

    def __init__(self, worker: int) -> None:
        self.report = WorkerReport(worker=worker)
        self.in_flight = 0
        self.events = 0
        self.lags_ns = array("q")
        self.lateness_ns = array("q")
        self.callback_ns = 0
        self._begun_ns: int | None = None
        self._begun_cpu_ns = 0
        self._area = 0
        self._area_at_ns = 0

    @property
    def begun(self) -> bool:
        return self._begun_ns is not None

    def begin(self) -> None:
        self._begun_ns = time.monotonic_ns()
        self._begun_cpu_ns = time.process_time_ns()

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
        if report.first_issue_ns is None:
            report.first_issue_ns = now_ns
        report.last_issue_ns = now_ns
        report.peak_in_flight = max(report.peak_in_flight, in_flight)
        report.in_flight_ns = self._area

    def fully_loaded(self, now_ns: int) -> None:
        """The whole share of concurrency is in flight from now on."""
        if self.report.full_load_ns is None:
            self.report.full_load_ns = self._area_at_ns = now_ns

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
        if self._begun_ns is not None and report.wall_s == 0:
            report.wall_s = (time.monotonic_ns() - self._begun_ns) / 1e9
            report.cpu_s = (time.process_time_ns() - self._begun_cpu_ns) / 1e9

    def close(self) -> None:
        """The last request has ended: say what is known of the phase's health."""
        self.settle()
        report = self.report
        report.callback_s = self.callback_ns / 1e9
        report.loop_lag_ms = quantiles_ms(self.lags_ns)
        report.schedule_lateness_ms = quantiles_ms(self.lateness_ns)


def quantiles_ms(values_ns: array[int]) -> Quantiles | None:
    """p50, p99 and maximum in milliseconds, each a value that occurred; None of nothing."""
    if not values_ns:
        return None
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return Quantiles(
        p50=ordered[last * 50 // 100] / 1e6, p99=ordered[last * 99 // 100] / 1e6, max=ordered[last] / 1e6
    )
