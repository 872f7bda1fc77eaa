"""How many requests a server had in flight while another tool sent them, as the server's own metrics say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pytest_bench.endpoints.scrape import METRICS_LOG, METRICS_VERSION
from pytest_bench.errors import EvidenceError
from pytest_bench.lines import LineReader

INTERVAL_S = 0.25
"""Interval of the readings while a command runs, unless the deployment has one."""

GAUGES: tuple[tuple[str, ...], ...] = (
    ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    ("tgi_batch_current_size", "tgi_queue_size"),
    ("simulator_requests_in_flight",),
)
"""Gauges whose sum is the number of requests in flight, by server: those that run and those that wait."""


class ServerPeak(msgspec.Struct, frozen=True, kw_only=True):
    """The most requests that a server had in flight at any reading."""

    gauges: tuple[str, ...]
    """The gauges whose sum it is; empty if the server has no known gauge."""
    readings: int
    """Readings with these gauges."""
    peak: int | None
    """None without a reading."""


def server_peak(folder: Path) -> ServerPeak:
    """The peak in the log of the server's metrics in `folder`. Raises `EvidenceError` for a damaged log."""
    path = folder / f"{METRICS_LOG}.0.jsonl"
    if not path.exists():
        return ServerPeak(gauges=(), readings=0, peak=None)
    decode = msgspec.json.Decoder(_Reading).decode
    gauges: tuple[str, ...] = ()
    found: list[int] = []
    for number, payload in enumerate(LineReader(path, METRICS_LOG, METRICS_VERSION), start=2):
        try:
            samples = _by_name(decode(payload).samples or {})
        except msgspec.MsgspecError as error:
            raise EvidenceError(f"{path}:{number}: is not a reading of metrics: {error}") from error
        gauges = gauges or next((names for names in GAUGES if names[0] in samples), ())
        if gauges and gauges[0] in samples:
            found.append(round(sum(samples.get(name, 0.0) for name in gauges)))
    return ServerPeak(gauges=gauges, readings=len(found), peak=max(found, default=None))


class _Reading(msgspec.Struct, frozen=True):
    samples: dict[str, float | None] | None
    """NaN and infinities are null."""


def _by_name(samples: Mapping[str, float | None]) -> dict[str, float]:
    """The sum of each metric over its label sets, such as the engines of one server."""
    sums: dict[str, float] = {}
    for series, value in samples.items():
        if value is not None:
            name = series.partition("{")[0]
            sums[name] = sums.get(name, 0.0) + value
    return sums
