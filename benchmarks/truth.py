"""Accuracy of the load engine on a disturbed machine, and whether it reports that it was the bottleneck."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.clients import IMPORTS, OURS, Cores, Driven, driven, fresh_folder
from benchmarks.figures import Table
from benchmarks.process import run
from pytest_bench import simulator
from pytest_bench.files import read_json
from pytest_bench.load.log import read_records
from pytest_bench.records import Moments
from pytest_bench.workload import Load

CONNECTIONS = 64

_BUSY_HALF = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
while os.getppid() == int(sys.argv[2]):
    until = time.monotonic() + 0.02
    while time.monotonic() < until:
        pass
    time.sleep(0.02)
"""
"""Occupies a core for 20 ms of every 40 ms, until its parent ends."""
_BUSY = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    pass
"""


def disturbed(table: Table, streams: int, waves: int, cores: Cores, *, itl_ms: float) -> None:
    """One repetition of paced streams while another process occupies the load worker's core half of the time."""
    work = f"{streams} streams at {1000 / itl_ms:,.0f} events/s, half of the client's core taken"
    known = os.sched_getaffinity(0)
    core = max(known) if cores.client is None else cores.client
    place = Cores(min(known) if cores.server is None else cores.server, core)
    with (
        beside(_BUSY_HALF, str(core)),
        driven(OURS, streams, waves * streams, paced=True, cores=place, itl_ms=itl_ms) as full,
    ):
        within, worst_ms = _within(full)
        violations = _health(full.folder)["violations"]
    table.add(work, "errors within their uncertainty", "ratio", within, ">= 0.99")
    table.add(work, "largest error beyond its uncertainty", "ms", worst_ms)
    table.add(work, "client-bound", "of 1", float(bool(violations)))
    table.add(
        work, "passed though the client was wrong", "of 1", float(not violations and within < 0.99), "<= 0"
    )


def _within(full: Driven) -> tuple[float, float]:
    """The share of requests whose first and last content may, by the record, have arrived while the server wrote them,
    and the longest time between the two, in milliseconds.

    The server stamps before and after each of these writes. The kernel delivers during the write on loopback.
    """
    of_id = {bytes(row["id"]): row for row in full.stamps}
    apart: list[int] = []
    for record in read_records(full.folder):
        if record.first_content_ns is None or record.last_content_ns is None:
            continue
        row, may_be = of_id[record.request_id.encode()], record.uncertainty_ns or Moments()
        first_ns, last_ns = record.first_content_ns, record.last_content_ns
        apart.append(
            max(
                first_ns - may_be.first_content - int(row["first_written_ns"]),
                int(row["first_ns"]) - first_ns,
                last_ns - may_be.last_content - int(row["last_written_ns"]),
                int(row["last_ns"]) - last_ns,
            )
        )
    return sum(value <= 0 for value in apart) / len(apart), max(0, *apart) / 1e6


def client_bound(table: Table, requests: int, cores: Cores) -> None:
    """One repetition against a server that answers at once, for every placement of the two processes on cores."""
    work = f"server that answers at once, {CONNECTIONS} connections, {requests:,} requests, W=1"
    known = sorted(os.sched_getaffinity(0))
    first = known[0] if cores.server is None else cores.server
    second = known[-1] if cores.client is None else cores.client
    for name, place in {
        "not pinned": Cores(),
        "a core each": Cores(first, second),
        "one core for both": Cores(second, second),
        "client pinned": Cores(None, second),
        "server pinned": Cores(first, None),
    }.items():
        with driven(OURS, CONNECTIONS, requests, paced=False, cores=place) as full:
            health = _health(full.folder)
            table.add(work, f"{name}: client-bound", "of 1", float(bool(health["violations"])), ">= 1")
            table.add(work, f"{name}: vacancy", "%", 100 * (health["vacancy"] or 0.0))


def loaded(table: Table, requests: int) -> None:
    """One repetition against a slow server, the simulator, while another process keeps a core busy."""
    work = "simulator at 100 ms per request, concurrency 8, one busy process beside"
    load = Load(pattern="concurrency", concurrency=8, requests=requests)
    with (
        simulator.start(simulator.Behaviour(model=ours.MODEL, ttft_ms=100.0, itl_ms=0.0)) as server,
        fresh_folder() as folder,
        beside(_BUSY),
    ):
        run(ours.command(server.url, folder, load), folder=folder, environment=IMPORTS)
        health = _health(folder)
    table.add(work, "passes", "of 1", float(not health["violations"]), ">= 1")
    table.add(work, "vacancy", "%", 100 * (health["vacancy"] or 0.0), "<= 2")
    table.add(work, "turnaround p99", "ms", health["turnaround_ms"]["p99"])


def _health(folder: Path) -> dict[str, Any]:
    health: dict[str, Any] = read_json(folder / "phase.json")["health"]
    return health


@contextmanager
def beside(script: str, *arguments: str) -> Iterator[None]:
    """Run a Python script in a process that ends with this one."""
    process = subprocess.Popen([sys.executable, "-I", "-c", script, *arguments, str(os.getpid())])
    try:
        yield
    finally:
        process.kill()
        process.wait()
