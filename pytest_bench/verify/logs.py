"""Compares the logs of one phase with its counters, its session and the order of samples."""

from __future__ import annotations

import collections
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from pytest_bench.lines import LineReader
from pytest_bench.load.account import combine
from pytest_bench.load.order import sample_function
from pytest_bench.load.schedule import arrivals_ns
from pytest_bench.records import REQUESTS_VERSION, PhaseResult, RequestRecord, WorkerReport
from pytest_bench.results.differences import differences, plain
from pytest_bench.verify.reports import DeclaredLoad, Recount, reported
from pytest_bench.workload import OPEN_LOOP, HealthBudget, Load


def contradictions(
    folder: Path, phase: PhaseResult, header: dict[str, str], declared: DeclaredLoad | None
) -> Iterator[str]:
    """Yield each contradiction between the logs in `folder` and `phase`, `header` or `declared`.

    `header` contains the expected fields of each log's header; `declared` is None if it is unknown. Raises
    `EvidenceError` with file and line for a damaged log.
    """
    order = None if declared is None else declared.order
    requests = _Requests(
        None if order is None else sample_function(order),
        _schedule(phase, declared),
        capped=declared is None or any(part.max_concurrency for part in declared.load.parts),
        foreign_places=0 if declared is None or declared.alone else declared.load.max_concurrency or 0,
    )
    reports: list[WorkerReport] = []
    decode = msgspec.json.Decoder(RequestRecord).decode
    for path in sorted(folder.glob("requests.*.jsonl")):
        reader = LineReader(path, "requests", REQUESTS_VERSION)
        recount = Recount(declared)
        for record in reader.records(decode, "a request record"):
            requests.add(record)
            recount.add(record)
        yield from _framing(reader, phase, header)
        if phase.complete:
            claimed = reported(reader.end, path.name)
            found = recount.report(claimed)
            reports.append(found)
            again = msgspec.structs.replace(found, seconds=claimed.seconds)
            yield from (
                f"{path.name}: {sentence}" for sentence in differences(plain(claimed), plain(again), "report")
            )
    for path in sorted(folder.glob("texts.*.jsonl")):
        reader = LineReader(path, "texts", REQUESTS_VERSION)
        collections.deque(reader, maxlen=0)
        yield from _framing(reader, phase, header)
    yield from (f"requests.*.jsonl: {sentence}" for sentence in requests.contradictions(phase))
    if phase.complete:
        yield from _recombined(phase, reports, declared)


def _recombined(
    phase: PhaseResult, reports: Sequence[WorkerReport], declared: DeclaredLoad | None
) -> Iterator[str]:
    """Compare a phase with the reports of its load workers, put together again."""
    load = Load(pattern="stages") if declared is None else declared.load
    budget = HealthBudget() if declared is None else declared.budget
    again = combine(reports, load, budget, label=phase.label, folder=phase.folder, start_ns=phase.start_ns)
    names = phase.__struct_fields__ if declared is not None else _COUNTERS
    found, wanted = ({name: getattr(one, name) for name in names} for one in (phase, again))
    yield from (f"phase.json: {sentence}" for sentence in differences(plain(found), plain(wanted)))


def _schedule(phase: PhaseResult, declared: DeclaredLoad | None) -> NDArray[np.int64] | None:
    """The scheduled time of each request by its index; None unless the whole load is one open loop."""
    if declared is None or declared.load.pattern not in OPEN_LOOP:
        return None
    return arrivals_ns(declared.load, declared.arrival_seed) + phase.start_ns


def _framing(reader: LineReader, phase: PhaseResult, header: dict[str, str]) -> Iterator[str]:
    """Compare header and end of a log that was read to its end."""
    if phase.complete:
        reader.require_complete()
    found = {name: reader.header.get(name) for name in header}
    yield from (f"{reader.path.name}: header: {sentence}" for sentence in differences(found, header))


class _Requests:
    """Totals and problems of the request logs of one phase."""

    def __init__(
        self,
        sample: Callable[[int], int] | None,
        schedule: NDArray[np.int64] | None = None,
        *,
        capped: bool,
        foreign_places: int = 0,
    ) -> None:
        """`capped`: whether requests may wait for a place. `foreign_places`: how many of these may have been held by
        requests of another phase when this one began."""
        self._capped = capped
        self._foreign_places = foreign_places
        self._places_ns = Counter[int]()
        self._sample = sample
        self._schedule = schedule
        self._ids: set[str] = set()
        self._indices: set[int] = set()
        self._starts, self._ends = array("q"), array("q")
        self._problems: list[str] = []

    def add(self, record: RequestRecord) -> None:
        for what, value, seen in (
            ("request_id", record.request_id, self._ids),
            ("index", record.index, self._indices),
        ):
            if value in seen:
                self._problems.append(f"two requests have the {what} {value!r}")
            seen.add(value)  # type: ignore[arg-type] # each field has its own set
        if self._sample is not None and record.sample_index != (wanted := self._sample(record.index)):
            self._problems.append(
                f"request {record.index} sent sample {record.sample_index}; the order requires {wanted}"
            )
        if self._schedule is not None:
            planned = int(self._schedule[record.index]) if 0 <= record.index < self._schedule.size else None
            if record.scheduled_ns != planned:
                self._problems.append(
                    f"request {record.index} was scheduled at {record.scheduled_ns}; the load requires {planned}"
                )
        if record.place_free_ns is not None:
            self._places_ns[record.place_free_ns] += 1
            if not self._capped:
                self._problems.append(
                    f"request {record.index} waited for a place; the load has no 'max_concurrency'"
                )
            elif not (record.scheduled_ns or 0) < record.place_free_ns <= record.send_start_ns:
                self._problems.append(
                    f"request {record.index} waited for a place until {record.place_free_ns}; expected a time after "
                    f"its schedule ({record.scheduled_ns}) and before it was sent ({record.send_start_ns})"
                )
        self._starts.append(record.send_start_ns)
        self._ends.append(record.end_ns)

    def contradictions(self, phase: PhaseResult) -> Iterator[str]:
        yield from self._problems[:_SHOWN]
        if len(self._problems) > _SHOWN:
            yield f"and {len(self._problems) - _SHOWN} more such problems"
        at_once = _max_in_flight(self._starts, self._ends)
        if at_once > phase.peak_in_flight:
            yield f"{at_once} requests were in flight at once, but peak_in_flight is {phase.peak_in_flight}"
        # A step of the clock moves the end of a request after its place was given on.
        if self._places_ns and not phase.health.clock_steps:
            unexplained = (self._places_ns - Counter(self._ends)).total()
            if unexplained > self._foreign_places:
                yield (
                    f"{unexplained} requests waited for a place until a time at which no request ended; expected at "
                    f"most {self._foreign_places}, whose places requests of the phase before held"
                )


_COUNTERS = ("issued", "succeeded", "failed", "interrupted", "resent", "failures", "last_completion_ns")
_SHOWN = 5
"""Maximum number of sentences about single requests, because one mistake may affect every request."""


def _max_in_flight(starts_ns: array[int], ends_ns: array[int]) -> int:
    """Return the maximum number of requests in flight (between first byte sent and end) at the same time."""
    if not starts_ns:
        return 0
    starts, ends = (np.sort(np.frombuffer(times, dtype=np.int64)) for times in (starts_ns, ends_ns))
    begun = np.arange(1, starts.size + 1)
    return int((begun - np.searchsorted(ends, starts, side="right")).max())
