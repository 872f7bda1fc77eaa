"""Cost of counting tokens during load: the same load with and without it, in pairs."""

from __future__ import annotations

import random

import msgspec
import numpy as np

from benchmarks import ours
from benchmarks.clients import IMPORTS, fresh_folder
from benchmarks.figures import Table
from benchmarks.process import run
from benchmarks.server import Server
from benchmarks.tokens import fetch_tokenizer
from pytest_bench.errors import LoadError
from pytest_bench.load.log import read_records
from pytest_bench.tokens.counting import CountingResult
from pytest_bench.workload import Load

RATE = 5000.0
LANE_WORKERS = 1
SETTLED_S = 1.0
"""Requests of the first second are excluded, because connections are being opened."""


def measure(table: Table, seconds: float, *, events: int) -> None:
    """One pair: 5,000 requests a second, each answered at once by `events` events, lane off and on, in random order.

    Raises `LoadError` where the counting of either did not come to an end with every text.
    """
    work = f"live lane at {RATE:,.0f} completions/s for {seconds:g} s, {events} events each"
    waits: dict[int, tuple[float, float]] = {}
    for lane in random.sample([0, LANE_WORKERS], 2):
        name = "on" if lane else "off"
        p50, p99, rate, counted = _driven(seconds, events, lane)
        waits[lane] = p50, p99
        table.add(work, f"{name}: completions", "1/s", rate)
        table.add(work, f"{name}: time to first token p50", "ms", p50)
        table.add(work, f"{name}: time to first token p99", "ms", p99)
        if lane:
            table.add(work, "on: counted by the lane", "%", 100 * counted.live / counted.counted)
            table.add(work, "on: pending", "", counted.pending, "== 0")
    for name, on, off in zip(("p50", "p99"), waits[LANE_WORKERS], waits[0], strict=True):
        table.add(work, f"time to first token {name}, on - off", "ms", on - off, "< 1")


def _driven(seconds: float, events: int, lane: int) -> tuple[float, float, float, CountingResult]:
    """Median and p99 of the time to the first token, in ms from the scheduled time; completions a second; counts."""
    load = Load(pattern="constant", rate=RATE, duration_s=seconds)
    with fresh_folder() as folder, Server(folder, events=events) as server:
        command = ours.command(server.url, folder, load, tokenizer=fetch_tokenizer(), lane=lane)
        run(command, folder=folder, environment=IMPORTS)
        counted = msgspec.json.decode((folder / ours.COUNTING).read_bytes(), type=CountingResult)
        if not counted.complete:
            raise LoadError(f"counting with lane {lane} ended {counted.outcome}: {counted.failures[:1]}")
        records = list(read_records(folder))
    if counted.counted != len(records):
        raise LoadError(f"{counted.counted} of {len(records)} requests were counted with lane {lane}")
    waits_ms = [
        (record.first_content_ns - record.scheduled_ns) / 1e6
        for record in records
        if record.index >= SETTLED_S * RATE
        and record.first_content_ns is not None
        and record.scheduled_ns is not None
    ]
    span_s = (
        max(record.end_ns for record in records) - min(record.send_start_ns for record in records)
    ) / 1e9
    p50, p99 = np.percentile(waits_ms, (50, 99))
    return float(p50), float(p99), len(records) / span_s, counted
