"""Counters of a load worker for one phase: requests, times, and the worker's own load."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence

from pytest_bench.load.client_share import ClientShare, quantiles_ms
from pytest_bench.load.counters import Cell, SharedCounters
from pytest_bench.load.windows import Windows, high
from pytest_bench.records import Places, RequestRecord, WorkerReport

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

    def __init__(self, worker: int, *, capped: bool = False) -> None:
        """`capped`: see `ClientShare`."""
        self.report = WorkerReport(worker=worker)
        self.in_flight = 0
        """Issued and not yet recorded."""
        self.awaited = 0
        """Issued and not yet ended."""
        self.events = 0
        self.closed = False
        """Whether the report is complete."""
        self.issue_lateness_ns = array("q")
        self._share_of_client = ClientShare(capped=capped)
        self._lags_ns = Thinned()
        self._begun_ns: int | None = None
        self._begun_cpu_ns = 0
        # Requests in flight, of any phase, since full load: their integral up to T is sum + count * T.
        self._area_count = 0
        self._area_sum = 0
        self._cpu = Windows()
        self._share: int | None = None
        self._in_service = self._peak_in_service = 0
        self._peak_at_ns = 0

    @property
    def begun(self) -> bool:
        return self._begun_ns is not None

    def begin(self) -> None:
        self._begun_ns = time.monotonic_ns()
        self._begun_cpu_ns = time.process_time_ns()

    def enter(self, share: int | None, sent: int = 0) -> None:
        """A stage starts: closed loop with `share` requests in flight, or open loop (None).

        `sent`: number of this load worker's requests, of any phase, that were sent and have not ended.
        """
        self._share = share
        if share == 0:  # fewer concurrent requests than load workers
            self._fully_loaded(time.monotonic_ns(), sent)

    def places(self) -> Places:
        """The concurrency reached so far."""
        report = self.report
        return Places(
            peak=self._peak_in_service,
            full_load_ns=report.full_load_ns,
            last_issue_ns=report.last_issue_ns,
            place_ns=report.in_flight_ns,
        )

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
        if self.awaited == self._share:
            self._fully_loaded(now_ns, sent)

    def sent(self, send_start_ns: int) -> None:
        """A request, of any phase, was sent."""
        self._in_service += 1
        if self._in_service > self._peak_in_service:
            self._peak_in_service, self._peak_at_ns = self._in_service, send_start_ns
        if self.report.full_load_ns is not None:
            self._area_count += 1
            self._area_sum -= send_start_ns

    def vacated(self, end_ns: int) -> None:
        """A request in flight, of any phase, has ended. The last byte of its response arrived at `end_ns`."""
        self._in_service -= 1
        if end_ns < self._peak_at_ns:
            self._peak_in_service -= 1  # it had ended before the request that made the peak was sent
        report = self.report
        if report.full_load_ns is None:
            return
        end_ns = max(end_ns, report.full_load_ns)
        self._area_count -= 1
        self._area_sum += end_ns
        if report.last_issue_ns is not None and end_ns < report.last_issue_ns:
            report.in_flight_ns -= report.last_issue_ns - end_ns

    def ended(self, record: RequestRecord, lags_ns: Sequence[int], *, paced: bool = False) -> None:
        """Count a request that has ended, from its record.

        `lags_ns`: how much later than the kernel's stamp each read was made; 0 if there is no stamp. `paced`: see
        `Phase.write_down`.
        """
        report = self.report
        self._share_of_client.add(record, paced=paced)
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

    def _fully_loaded(self, now_ns: int, sent: int) -> None:
        """From now on the whole share of concurrency is in flight with requests of this phase, so that requests of a
        warm-up do not affect the throughput."""
        if self.report.full_load_ns is None:
            self.report.full_load_ns = now_ns
            self._area_count, self._area_sum = sent, -sent * now_ns

    def beat(self, now_ns: int) -> None:
        """End a window of CPU time if it is complete."""
        elapsed_ns = now_ns - self._begun_ns if self._begun_ns is not None else 0
        if self._cpu.due(elapsed_ns):
            self._cpu.mark(elapsed_ns, time.process_time_ns() - self._begun_cpu_ns)

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

    def close(self) -> None:
        """Complete the report after the last request has ended."""
        self.closed = True
        self.end_timing()
        self.report.client_lag_ms = quantiles_ms(self._lags_ns.values)
        self.report.issue_lateness_ms = quantiles_ms(self.issue_lateness_ns)
        self._share_of_client.report(self.report)
