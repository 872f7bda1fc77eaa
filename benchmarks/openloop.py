"""Open-loop workloads: whether planned and actual arrivals follow the declared process."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import NDArray

from benchmarks import ours
from benchmarks.clients import IMPORTS, fresh_folder
from benchmarks.figures import Table
from benchmarks.process import run
from benchmarks.server import Server
from pytest_bench.load.log import read_records
from pytest_bench.workload import Load

RATE = 1000.0
BIN_NS = 10_000_000
STALL_S = 2.0


def poisson(table: Table, seconds: float, seed: int) -> None:
    """One repetition of Poisson arrivals at 1,000/s, with one and with two load workers."""
    for workers in (1, 2):
        work = f"Poisson at {RATE:,.0f}/s for {seconds:g} s, W={workers}"
        load = Load(pattern="poisson", rate=RATE, duration_s=seconds)
        with fresh_folder() as folder, Server(folder) as server:
            command = ours.command(server.url, folder, load, workers=workers, seed=seed)
            run(command, folder=folder, environment=IMPORTS)
            arrival_ns = {bytes(row["id"]): int(row["arrival_ns"]) for row in server.stop()}
            scheduled: list[int] = []
            late: list[int] = []
            for record in read_records(folder):
                if record.scheduled_ns is not None:
                    scheduled.append(record.scheduled_ns)
                    late.append(arrival_ns[record.request_id.encode()] - record.scheduled_ns)
        times = np.sort(np.asarray(scheduled))
        late_ms = np.asarray(late) / 1e6
        table.add(
            work, "gaps are exponential: KS p", "probability", exponential_p(np.diff(times), RATE), ">= 0.01"
        )
        table.add(work, "dispersion in 10 ms bins: |z|", "sigma", abs(dispersion_z(times)), "<= 2.58")
        table.add(work, "arrival - scheduled: p50", "ms", float(np.percentile(late_ms, 50)))
        table.add(work, "arrival - scheduled: p99", "ms", float(np.percentile(late_ms, 99)), "<= 1")


def stalled(table: Table, seconds: float) -> None:
    """One repetition of a fixed rate against a server that stops for two seconds in the middle."""
    work = f"server stopped for {STALL_S:g} s at 200/s"
    load = Load(pattern="constant", rate=200.0, duration_s=seconds)
    with fresh_folder() as folder, Server(folder) as server:
        timers = [
            threading.Timer(seconds / 2, server.pause),
            threading.Timer(seconds / 2 + STALL_S, server.resume),
        ]
        for timer in timers:
            timer.start()
        try:
            run(ours.command(server.url, folder, load), folder=folder, environment=IMPORTS)
        finally:
            for timer in timers:
                timer.cancel()
        waits = [
            (record.first_content_ns - record.scheduled_ns) / 1e6
            for record in read_records(folder)
            if record.first_content_ns is not None and record.scheduled_ns is not None
        ]
    table.add(work, "scheduled time to first token: p50", "ms", float(np.percentile(waits, 50)))
    table.add(work, "scheduled time to first token: p99", "ms", float(np.percentile(waits, 99)), ">= 1800")


def exponential_p(gaps_ns: NDArray[np.int64], rate: float) -> float:
    """p-value of the one-sample Kolmogorov-Smirnov test of gaps against Exp(rate).

    Asymptotic distribution with Stephens' correction for finite samples (JASA 69, 1974).
    """
    count = len(gaps_ns)
    expected = -np.expm1(-np.sort(gaps_ns) / 1e9 * rate)
    ranks = np.arange(count + 1) / count
    distance = max(float(np.max(ranks[1:] - expected)), float(np.max(expected - ranks[:-1])))
    scaled = (math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)) * distance
    series = math.fsum((1 if k % 2 else -1) * math.exp(-2 * k * k * scaled * scaled) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * series))


def dispersion_z(times_ns: NDArray[np.int64]) -> float:
    """How many standard deviations the variance-to-mean ratio of counts per bin is from 1.

    Under a Poisson process (n - 1) times the ratio is chi-squared with n - 1 degrees of freedom (Fisher's
    index of dispersion), close to normal for the hundreds of bins used here.
    """
    bins = int(times_ns[-1] - times_ns[0]) // BIN_NS
    inside = times_ns - times_ns[0] < bins * BIN_NS
    counts = np.bincount((times_ns[inside] - times_ns[0]) // BIN_NS, minlength=bins)
    index = float(counts.var(ddof=1)) / float(counts.mean())
    return (index - 1) * math.sqrt((bins - 1) / 2)
