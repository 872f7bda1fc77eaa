"""A million requests: memory must stay bounded and the cost of a request constant."""

from __future__ import annotations

import statistics

from benchmarks.clients import OURS, Cores, driven
from benchmarks.figures import Table
from benchmarks.load import CONNECTIONS

FEW = 10 * CONNECTIONS
USUAL = 10_000
MEBIBYTE = 1 << 20


def million(table: Table, requests: int, cores: Cores) -> None:
    """Run `requests` once, with ten thousand before and after for comparison."""
    work = f"{requests:,} requests, 128 events at once"
    with driven(OURS, CONNECTIONS, FEW, paced=False, cores=cores) as short:
        start_up_s = short.cost.cpu_s

    def cost_us(count: int, *, memory: bool = False) -> tuple[float, int]:
        with driven(OURS, CONNECTIONS, count, paced=False, cores=cores, memory=memory) as full:
            return (full.cost.cpu_s - start_up_s) / (count - FEW) * 1e6, full.cost.peak_bytes

    before, _ = cost_us(USUAL)
    cost, peak_bytes = cost_us(requests, memory=True)
    after, _ = cost_us(USUAL)
    usual = statistics.mean([before, after])
    table.add(work, "peak memory of all processes", "MiB", peak_bytes / MEBIBYTE, "< 1024")
    table.add(work, "CPU per request", "us", cost)
    table.add(work, f"CPU per request, beside {USUAL:,} requests", "ratio", cost / usual, "<= 1.1")
