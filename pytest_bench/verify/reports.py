"""Computes again what a load worker reported of a phase, from its request log."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from pytest_bench.errors import EvidenceError
from pytest_bench.load.client_share import ClientShare
from pytest_bench.records import RequestRecord, WorkerReport
from pytest_bench.workload import OPEN_LOOP, HealthBudget, Load, SampleOrder

_LONGEST_NS = 7 * 86_400 * 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class DeclaredLoad:
    """What a phase was to do."""

    load: Load
    budget: HealthBudget
    alone: bool
    """Whether no request of another phase may have been in flight at the same time."""
    order: SampleOrder | None
    """The sample of each request; None if it is unknown."""
    arrival_seed: int
    """Open loop: the seed of the arrival times."""


class Recount:
    """The records of one load worker's log of a phase."""

    def __init__(self, declared: DeclaredLoad | None) -> None:
        """`declared`: None if it is unknown what the phase was to do."""
        patterns = set() if declared is None else {part.pattern for part in declared.load.parts}
        self._paced = not patterns.isdisjoint(OPEN_LOOP)
        # In stages of both kinds, a scheduled time does not show which of them a request is of.
        self._shares = declared is not None and not (self._paced and "burst" in patterns)
        self._alone = declared is not None and declared.alone
        self._share = ClientShare(
            capped=declared is not None and any(part.max_concurrency for part in declared.load.parts)
        )
        self._outcomes, self._failures = Counter[str](), Counter[str]()
        self._resent = 0
        self._last_completion_ns: int | None = None
        self._sent_ns, self._ended_ns = array("q"), array("q")

    def add(self, record: RequestRecord) -> None:
        """Add a record. Raises `EvidenceError` for a duration that no request can have."""
        if max(record.end_ns - record.send_start_ns, record.turnaround_ns or 0) > _LONGEST_NS:
            raise EvidenceError(
                f"request log: request {record.request_id!r} took or waited for more than {_LONGEST_NS / 1e9:g} s: "
                "the log is damaged"
            )
        self._share.add(record, paced=self._paced and record.scheduled_ns is not None)
        self._outcomes[record.outcome] += 1
        if record.outcome == "failed":
            self._failures[record.error or "unknown"] += 1
        if record.outcome != "interrupted":
            self._resent += record.resent
            self._last_completion_ns = max(self._last_completion_ns or 0, record.end_ns)
        if record.request_sent_ns is not None:
            self._sent_ns.append(record.send_start_ns)
            self._ended_ns.append(record.end_ns)

    def report(self, claimed: WorkerReport) -> WorkerReport:
        """`claimed`, the worker's report, with every field that follows from the records."""
        found = msgspec.structs.replace(
            claimed,
            issued=self._outcomes.total(),
            succeeded=self._outcomes["succeeded"],
            failed=self._outcomes["failed"],
            interrupted=self._outcomes["interrupted"],
            resent=self._resent,
            failures=dict(self._failures),
            last_completion_ns=self._last_completion_ns,
        )
        if self._shares:
            self._share.report(found)
        if self._alone and not claimed.clock_steps:  # a step moves the end of a request after it was counted
            found.in_flight_ns = self._in_flight_ns(claimed)
        return found

    def _in_flight_ns(self, claimed: WorkerReport) -> int:
        """Integral of requests in flight from full load to the last issue."""
        if claimed.full_load_ns is None or claimed.last_issue_ns is None:
            return 0
        sent, ended = (np.frombuffer(times, dtype=np.int64) for times in (self._sent_ns, self._ended_ns))
        until, since = np.minimum(ended, claimed.last_issue_ns), np.maximum(sent, claimed.full_load_ns)
        return int(np.maximum(until - since, 0).sum())


def reported(end: dict[str, Any] | None, log: str) -> WorkerReport:
    """The report at the end of a request log. Raises `EvidenceError` if there is none."""
    try:
        return msgspec.convert((end or {}).get("report"), WorkerReport)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"{log}: its end line holds no report of its load worker: {error}") from error
