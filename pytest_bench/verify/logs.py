"""Compares the logs of one phase with its counters, its session and the order of samples."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import LineReader
from pytest_bench.load.order import sample_function
from pytest_bench.records import REQUESTS_VERSION, PhaseResult, RequestRecord
from pytest_bench.results.differences import differences
from pytest_bench.workload import SampleOrder


def contradictions(
    folder: Path, phase: PhaseResult, header: dict[str, str], order: SampleOrder | None
) -> Iterator[str]:
    """Yield each contradiction between the logs in `folder` and `phase`, `header` or `order`.

    `header` contains the expected fields of each log's header; `order` gives the sample of each request, or is None if
    it is unknown. Raises `EvidenceError` with file and line for a damaged log.
    """
    requests = _Requests(None if order is None else sample_function(order))
    decode = msgspec.json.Decoder(RequestRecord).decode
    for kind in ("requests", "texts"):
        for path in sorted(folder.glob(f"{kind}.*.jsonl")):
            reader = LineReader(path, kind, REQUESTS_VERSION)
            for number, payload in enumerate(reader, start=2):
                if kind == "requests":
                    try:
                        requests.add(decode(payload))
                    except msgspec.MsgspecError as error:
                        raise EvidenceError(
                            f"{path}: line {number} is not a request record: {error}"
                        ) from error
            if phase.complete:
                reader.require_complete()
            found = {name: reader.header.get(name) for name in header}
            yield from (f"{path.name}: header: {sentence}" for sentence in differences(found, header))
    yield from (f"requests.*.jsonl: {sentence}" for sentence in requests.contradictions(phase))


class _Requests:
    """Totals and problems of the request logs of one phase."""

    def __init__(self, sample: Callable[[int], int] | None) -> None:
        self._sample = sample
        self._ids: set[str] = set()
        self._indices: set[int] = set()
        self._outcomes: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._resent = 0
        self._last_completion_ns: int | None = None
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
        self._outcomes[record.outcome] += 1
        self._starts.append(record.send_start_ns)
        self._ends.append(record.end_ns)
        if record.outcome == "failed":
            self._failures[record.error or "unknown"] += 1
        if record.outcome != "interrupted":
            self._resent += record.resent
            self._last_completion_ns = max(self._last_completion_ns or 0, record.end_ns)

    def contradictions(self, phase: PhaseResult) -> Iterator[str]:
        yield from self._problems[:_SHOWN]
        if len(self._problems) > _SHOWN:
            yield f"and {len(self._problems) - _SHOWN} more such problems"
        at_once = _max_in_flight(self._starts, self._ends)
        if at_once > phase.peak_in_flight:
            yield f"{at_once} requests were in flight at once, but peak_in_flight is {phase.peak_in_flight}"
        if phase.complete:
            counted: dict[str, Any] = {
                "issued": self._outcomes.total(),
                "succeeded": self._outcomes["succeeded"],
                "failed": self._outcomes["failed"],
                "interrupted": self._outcomes["interrupted"],
                "resent": self._resent,
                "failures": dict(self._failures),
                "last_completion_ns": self._last_completion_ns,
            }
            yield from differences({name: getattr(phase, name) for name in counted}, counted, "counters")


_SHOWN = 5
"""Maximum number of sentences about single requests, because one mistake may affect every request."""


def _max_in_flight(starts_ns: array[int], ends_ns: array[int]) -> int:
    """Return the maximum number of requests in flight (between first byte sent and end) at the same time."""
    if not starts_ns:
        return 0
    starts, ends = (np.sort(np.frombuffer(times, dtype=np.int64)) for times in (starts_ns, ends_ns))
    begun = np.arange(1, starts.size + 1)
    return int((begun - np.searchsorted(ends, starts, side="right")).max())
