"""Requests that exceed a time limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_bench.load.exchange import Exchange, Failure
from pytest_bench.workload import Timeouts


def overdue(
    live: Iterable[Exchange], timeouts: Timeouts, now_ns: int, *, streaming: bool
) -> Iterator[tuple[Exchange, Failure]]:
    """Yield each request in flight that exceeds a time limit, with its failure. `live` is in order of issue."""
    young = False
    for exchange in live:
        young = young or now_ns - exchange.started_ns < timeouts.request_s * 1e9
        if not young:
            yield exchange, Failure("timeout", f"not complete after {timeouts.request_s:g} s")
        elif timeouts.no_progress_s is None or not streaming:
            return
        else:
            last_ns = exchange.last_read_ns or exchange.sent_ns
            if last_ns is not None and now_ns - last_ns > timeouts.no_progress_s * 1e9:
                detail = f"silent for {timeouts.no_progress_s:g} s after {exchange.response_bytes} bytes"
                yield exchange, Failure("no_progress", detail)


def over_item_limit(live: Iterable[Exchange], limit_s: float, now_ns: int) -> Iterator[Exchange]:
    """Yield each request of an eval that was sent more than `limit_s` ago. `live` is in order of issue."""
    for exchange in live:
        if now_ns - exchange.started_ns < limit_s * 1e9:
            return
        if exchange.send_start_ns is not None and now_ns - exchange.send_start_ns >= limit_s * 1e9:
            yield exchange
