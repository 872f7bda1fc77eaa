"""Whether the simulator was the bottleneck of a phase, according to the lag of its event loop.

The simulator counts how late its loop was (`simulator.lag`). The difference between the readings of its metrics before
and after a phase is the lag in that phase. No outcome depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_bench.endpoints.scrape import METRICS_LOG, read_readings
from pytest_bench.records import PhaseResult
from pytest_bench.simulator.lag import SERIES, bucket

LIMIT_MS = 20
"""Limit on the lag of its event loop at p99. The client's default limit is the same."""

_ON_TIME, _LOOKS = bucket(LIMIT_MS), f"{SERIES}_count"


def simulator_bound(results: Sequence[PhaseResult]) -> list[str]:
    """A sentence for each phase and endpoint with a lag above `LIMIT_MS` at p99.

    Endpoints that are not the simulator, or were not read, have none. Raises `EvidenceError` for a damaged log.
    """
    return [
        f"In phase {result.label!r} the simulator's own event loop was more than {LIMIT_MS} ms late for {late:.0%} of "
        "the time: what was measured is its limit, not its configured behaviour; ask for less, or start several with "
        "`pytest-bench serve` and name them all as endpoints."
        for result in results
        for late in _late_shares(Path(result.folder))
    ]


def _late_shares(folder: Path) -> Iterator[float]:
    """For each endpoint that was too late in the phase, the share of observations of its loop that were."""
    for path in sorted(folder.glob(f"{METRICS_LOG}.*.jsonl")):
        before, after = _counted(path, "before"), _counted(path, "after")
        if before is None or after is None:
            continue
        looks, on_time = (round(after[series] - before[series]) for series in (_LOOKS, _ON_TIME))
        if looks > 0 and on_time <= (looks - 1) * 99 // 100:
            yield 1 - on_time / looks


def _counted(path: Path, label: str) -> Mapping[str, float] | None:
    for reading in read_readings(path):
        if reading.label == label:
            read = {series: (reading.samples or {}).get(series) for series in (_LOOKS, _ON_TIME)}
            known = {series: value for series, value in read.items() if value is not None}
            return known if len(known) == len(read) else None
    return None
