"""Closed-loop workloads: cost of a request and an event compared with other clients, and accuracy of stamps."""

from __future__ import annotations

import shutil

import numpy as np
from numpy.typing import NDArray

from benchmarks.clients import AIPERF, BARE, OURS, SGLANG, WRK, Client, Cores, Driven, driven
from benchmarks.figures import Table
from benchmarks.server import EVENTS, wave_s
from pytest_bench.errors import LoadError
from pytest_bench.load.log import read_records

CONNECTIONS = 64


def at_once(table: Table, requests: int, cores: Cores, *, peers: bool) -> None:
    """One repetition of `requests` responses of 128 events sent at once, over 64 connections."""
    work = f"{requests:,} requests, {EVENTS} events at once, {CONNECTIONS} connections"
    rate: dict[str, float] = {}
    cpu: dict[str, float] = {}
    for client in [OURS, BARE, *([SGLANG, AIPERF] if peers else [])]:
        count = max(4 * CONNECTIONS, round(requests * client.share))
        few = max(CONNECTIONS, count // 20)
        with driven(client, CONNECTIONS, few, paced=False, cores=cores) as short:
            pass
        with driven(client, CONNECTIONS, count, paced=False, cores=cores) as full:
            rate[client.name] = count / full.span_s
            if client is OURS:
                table.add(work, "ours: in flight, of those asked for", "ratio", _kept_in_flight(full))
        cpu[client.name] = cpu_per_request_us(client, short, full)
        table.add(work, f"{client.name}: rate", "requests/s", rate[client.name])
        table.add(work, f"{client.name}: CPU per request", "us", cpu[client.name])
    mine = OURS.name
    table.add(work, "CPU, ours / bare loop", "ratio", cpu[mine] / cpu[BARE.name], "<= 3.3")
    if peers:
        table.add(work, "rate, ours / SGLang Rust", "ratio", rate[mine] / rate[SGLANG.name], ">= 2")
        for client in (SGLANG, AIPERF):
            table.add(work, f"CPU, ours / {client.name}", "ratio", cpu[mine] / cpu[client.name], "<= 0.333")
    if shutil.which("wrk"):
        with driven(WRK, CONNECTIONS, None, paced=False, cores=cores) as full:
            capacity = len(full.stamps) / full.span_s
        fastest = max(rate[name] for name in rate if name != BARE.name)
        table.add(work, "server under wrk: rate", "requests/s", capacity)
        table.add(work, "rate, wrk / fastest client", "ratio", capacity / fastest, ">= 3")


def _kept_in_flight(full: Driven) -> float:
    """Mean number of requests in flight by our own records, from the first sent to the last ended, over
    `CONNECTIONS`."""
    records = list(read_records(full.folder))
    span_ns = max(record.end_ns for record in records) - min(record.send_start_ns for record in records)
    return sum(record.end_ns - record.send_start_ns for record in records) / span_ns / CONNECTIONS


def paced(table: Table, streams: int, waves: int, cores: Cores, *, peers: bool) -> None:
    """One repetition of `streams` paced streams at a time, `waves` of them one after the other."""
    work = f"{streams:,} streams at 100 events/s"
    cpu: dict[str, float] = {}
    for client in [OURS, BARE, *([SGLANG] if peers else [])]:
        with driven(client, streams, streams, paced=True, cores=cores) as short:
            pass
        with driven(client, streams, waves * streams, paced=True, cores=cores) as full:
            cpu[client.name] = cpu_per_request_us(client, short, full) / EVENTS
            table.add(work, f"{client.name}: CPU per event", "us", cpu[client.name])
            if client is BARE:
                took_s = (full.stamps["last_ns"] - full.stamps["arrival_ns"]).mean() / 1e9
                table.add(work, "server: pace kept", "ratio", float(wave_s() / took_s), ">= 0.99")
            if client is OURS:
                share = waves * wave_s() / full.span_s
                table.add(work, "ours: share of the ideal rate", "ratio", share, ">= 0.97")
                _truth(table, streams, full)
    table.add(work, "CPU, ours / bare loop", "ratio", cpu[OURS.name] / cpu[BARE.name], "<= 1.4")
    if peers:
        table.add(work, "CPU, ours / SGLang Rust", "ratio", cpu[OURS.name] / cpu[SGLANG.name], "< 1")


def cpu_per_request_us(client: Client, short: Driven, full: Driven) -> float:
    """Cost of the additional requests of the longer run. Raises `LoadError` if noise exceeds it."""
    spent_s = full.cost.cpu_s - short.cost.cpu_s
    if spent_s <= 0:
        raise LoadError(
            f"{client.name}: {len(full.stamps):,} requests took no more CPU than {len(short.stamps):,}: "
            "the machine is too busy to measure on"
        )
    return spent_s / (len(full.stamps) - len(short.stamps)) * 1e6


def _truth(table: Table, streams: int, full: Driven) -> None:
    """Our records compared with the server's stamps, without the first wave."""
    work = f"stamps of {streams:,} streams beside the server's"
    errors_ms, paces = compared(full, after=streams)
    table.add(work, "first content, client - server: min", "ms", float(errors_ms.min()), ">= 0")
    table.add(
        work, "first content, client - server: p50", "ms", float(np.percentile(errors_ms, 50)), "<= 0.03"
    )
    worst = "<= 0.2" if streams <= 256 else "<= 0.3"
    table.add(work, "first content, client - server: p99", "ms", float(np.percentile(errors_ms, 99)), worst)
    table.add(work, "time per output token: p99 error", "%", float(np.percentile(paces, 99)) * 100, "<= 0.2")


def compared(full: Driven, *, after: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Our records beside the server's stamps of the same requests, of those from the index `after` on: by how many
    milliseconds the first content is later than the server's stamp, and the relative error of the time from first to
    last content."""
    of_id = {bytes(row["id"]): row for row in full.stamps}
    lags: list[int] = []
    errors: list[float] = []
    for record in read_records(full.folder):
        if record.index < after or record.first_content_ns is None or record.last_content_ns is None:
            continue
        row = of_id[record.request_id.encode()]
        lags.append(record.first_content_ns - int(row["first_ns"]))
        said = record.last_content_ns - record.first_content_ns
        was = int(row["last_ns"]) - int(row["first_ns"])
        errors.append(abs(said - was) / was)
    return np.asarray(lags) / 1e6, np.asarray(errors)
