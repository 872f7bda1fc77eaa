"""Counters of a load worker for one phase: requests, times, and the worker's own load."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence

from pytest_bench.load.counters import Cell, SharedCounters
from pytest_bench.load.windows import Windows, high, low
from pytest_bench.records import Places, Quantiles, RequestRecord, WorkerReport

BEAT_NS = 10_000_000
"""Interval between heartbeats of a load worker."""

_MOST_LAGS = 1 << 18


class Thinned:
    """An even subsample of a stream of numbers: all while they are few, then every second, every fourth, and so on."""

    def __init__(self, most: int = _MOST_LAGS) -> None:
        self.values = array("q")
        self._most = most
        self._step = 1
        self._seen = 0

    def extend(self, values: Sequence[int]) -> None:
        chosen = values[-self._seen % self._step :: self._step]
        self._seen += len(values)
        self.values.extend(array("q", chosen))
        while len(self.values) > self._most:
            self.values = self.values[::2]
            self._step *= 2


class Tally:
    """Counters of one phase in one load worker."""

    def __init__(self, worker: int) -> None:
        self.report = WorkerReport(worker=worker)
        self.in_flight = 0
        """Issued and not yet recorded."""
        self.awaited = 0
        """Issued and not yet ended."""
        self.events = 0
        self.lateness_ns = array("q")
        self._turnarounds_ns = array("q")
        self._lags_ns = Thinned()
        self._begun_ns: int | None = None
        self._begun_cpu_ns = 0
        # Requests in flight, of any phase, since full load: their integral up to T is sum + count * T.
        self._area_count = 0
        self._area_sum = 0
        self._cpu, self._vacancy, self._rate = Windows(), Windows(), Windows()
        self._earlier_vacancy_ns = (0, 0)
        self._earlier_rate_ns = (0, 0)
        self._share = 0
        self._loaded_from_ns: int | None = None
        self._vacant_before_ns = 0

    @property
    def begun(self) -> bool:
        return self._begun_ns is not None

    def begin(self) -> None:
        self._begun_ns = time.monotonic_ns()
        self._begun_cpu_ns = time.process_time_ns()

    def enter(self, *, share: int = 0, start_ns: int | None = None, sent: int = 0) -> None:
        """A stage starts: closed loop with `share` requests in flight, or open loop with arrivals from `start_ns` on.

        `sent`: number of this load worker's requests, of any phase, that were sent and have not ended.
        """
        self._earlier_vacancy_ns, self._earlier_rate_ns = self._vacancy_ns(), self._rate_ns()
        self._share, self._loaded_from_ns = share, start_ns
        if not share and start_ns is None:  # fewer concurrent requests than load workers
            self._fully_loaded(time.monotonic_ns(), sent)

    # Events of a request

    def issued(self, now_ns: int, in_flight: int, sent: int) -> None:
        """A request is being issued. `in_flight` includes it and requests of other phases. `sent` excludes it and
        requests that wait for a connection."""
        report = self.report
        report.issued += 1
        self.in_flight += 1
        self.awaited += 1
        if report.first_issue_ns is None:
            report.first_issue_ns = now_ns
        report.last_issue_ns = now_ns
        report.peak_in_flight = max(report.peak_in_flight, in_flight)
        report.in_flight_ns = self._area_sum + self._area_count * now_ns
        if self.awaited == self._share and self._loaded_from_ns is None:
            self._fully_loaded(now_ns, sent)

    def sent(self, send_start_ns: int, vacant_since_ns: int | None) -> None:
        """The request was sent. `vacant_since_ns`: since when the client left its slot empty; None if it did not."""
        if self.report.full_load_ns is not None:
            self._area_count += 1
            self._area_sum -= send_start_ns
        if vacant_since_ns is not None:
            turnaround_ns = max(0, send_start_ns - vacant_since_ns)
            self._turnarounds_ns.append(turnaround_ns)
            self.report.vacant_ns += turnaround_ns

    def vacated(self, end_ns: int) -> None:
        """A request in flight, of any phase, has ended. The last byte of its response arrived at `end_ns`."""
        report = self.report
        if report.full_load_ns is None:
            return
        end_ns = max(end_ns, report.full_load_ns)
        self._area_count -= 1
        self._area_sum += end_ns
        if report.last_issue_ns is not None and end_ns < report.last_issue_ns:
            report.in_flight_ns -= report.last_issue_ns - end_ns

    def ended(self, record: RequestRecord, lags_ns: Sequence[int]) -> None:
        """Count a request that has ended, from its record.

        `lags_ns`: how much later than the kernel's stamp each read was made; 0 if there is no stamp.
        """
        report = self.report
        self.in_flight -= 1
        self.events += record.content_event_count
        report.reads += len(lags_ns)
        user_stamped = lags_ns.count(0)
        report.user_stamped_reads += user_stamped
        self._lags_ns.extend([lag_ns for lag_ns in lags_ns if lag_ns] if user_stamped else lags_ns)
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

    # Load achieved

    def places(self) -> Places:
        """The concurrency reached so far."""
        report = self.report
        return Places(
            peak=report.peak_in_flight,
            full_load_ns=report.full_load_ns,
            last_issue_ns=report.last_issue_ns,
            place_ns=report.in_flight_ns,
        )

    def _fully_loaded(self, now_ns: int, sent: int) -> None:
        """From now on the whole share of concurrency is in flight with requests of this phase, so that requests of a
        warm-up do not affect the throughput."""
        if self.report.full_load_ns is None:
            self.report.full_load_ns = now_ns
            self._area_count, self._area_sum = sent, -sent * now_ns
        self._loaded_from_ns, self._vacant_before_ns = now_ns, self.report.vacant_ns

    def _vacancy_ns(self) -> tuple[int, int]:
        """Closed loop: time from full load to the last issue, and for how much of it a slot was empty on average."""
        asked_ns, vacant_ns = self._earlier_vacancy_ns
        from_ns, until_ns = self._loaded_from_ns, self.report.last_issue_ns
        if not self._share or from_ns is None or until_ns is None or until_ns <= from_ns:
            return asked_ns, vacant_ns
        vacant = self.report.vacant_ns - self._vacant_before_ns
        return asked_ns + until_ns - from_ns, vacant_ns + vacant // self._share

    def _rate_ns(self) -> tuple[int, int]:
        """Open loop: time from the start to the last issue, and the scheduled time that was reached in it.

        The two are equal for a worker that keeps up; a worker that issues half as fast reaches half.
        """
        asked_ns, carried_ns = self._earlier_rate_ns
        from_ns, until_ns = self._loaded_from_ns, self.report.last_issue_ns
        if self._share or not self.lateness_ns or from_ns is None or until_ns is None or until_ns <= from_ns:
            return asked_ns, carried_ns
        return asked_ns + until_ns - from_ns, carried_ns + until_ns - self.lateness_ns[-1] - from_ns

    def beat(self, now_ns: int) -> None:
        """End the windows that are complete."""
        elapsed_ns = now_ns - self._begun_ns if self._begun_ns is not None else 0
        if self._cpu.due(elapsed_ns):
            self._cpu.mark(elapsed_ns, time.process_time_ns() - self._begun_cpu_ns)
        for windows, (most_ns, total_ns) in (
            (self._vacancy, self._vacancy_ns()),
            (self._rate, self._rate_ns()),
        ):
            if windows.due(most_ns):
                windows.mark(most_ns, total_ns)

    def publish(self, counters: SharedCounters, phase: int) -> None:
        """Publish the progress of this phase. `phase` is its position in the run."""
        report = self.report
        for cell, value in (
            (Cell.ISSUED, report.issued),
            (Cell.SUCCEEDED, report.succeeded),
            (Cell.FAILED, report.failed),
            (Cell.IN_FLIGHT, self.in_flight),
            (Cell.EVENTS, self.events),
        ):
            counters.set(report.worker, phase, cell, value)

    # The end

    def end_timing(self) -> None:
        """End the measured time of this phase, because the next one starts or none follows."""
        report = self.report
        if self._begun_ns is None or report.wall_s > 0:
            return
        wall_ns = time.monotonic_ns() - self._begun_ns
        cpu_ns = time.process_time_ns() - self._begun_cpu_ns
        report.wall_s, report.cpu_s = wall_ns / 1e9, cpu_ns / 1e9
        report.cpu_share_p99 = high(self._cpu.shares(wall_ns, cpu_ns))
        report.vacancy_p99 = high(self._vacancy.shares(*self._vacancy_ns()))
        report.achieved_share_p1 = low(self._rate.shares(*self._rate_ns()))

    def close(self) -> None:
        """Complete the report after the last request has ended."""
        self.end_timing()
        self.report.client_lag_ms = quantiles_ms(self._lags_ns.values)
        self.report.turnaround_ms = quantiles_ms(self._turnarounds_ns)
        self.report.schedule_lateness_ms = quantiles_ms(self.lateness_ns)


def quantiles_ms(values_ns: array[int]) -> Quantiles | None:
    """p50, p99 and maximum in milliseconds, each an observed value; None for no values."""
    if not values_ns:
        return None
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return Quantiles(
        p50=ordered[last * 50 // 100] / 1e6, p99=ordered[last * 99 // 100] / 1e6, max=ordered[last] / 1e6
    )
