"""`python -m benchmarks`: run the workloads and print their figures."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable

from benchmarks import checkpoints, endurance, fixed, live, load, openloop, pairs, peers, tokens, truth
from benchmarks.clients import Cores
from benchmarks.figures import Table
from benchmarks.server import EVENTS
from pytest_bench.errors import BenchError

TRUTH = (
    "streams-256",
    "streams-1024",
    "disturbed-256",
    "disturbed-64",
    "disturbed-4",
    "client-bound",
    "loaded",
    "pairs-paced",
    "pairs-at-once",
)
"""Workloads that check the accuracy of the engine's numbers, and its cost."""
WORKS = ("at-once", *TRUTH, "poisson", "fixed", "stall", "live", "million", "tokens", "checkpoints")
ONCE = frozenset({"million", "tokens", "checkpoints"})
"""Workloads that repeat internally or are too long to repeat."""
WITH_PEERS = frozenset({"at-once", "streams-256", "streams-1024"})
"""Workloads that peers do, too."""


def main() -> int:
    options = _options()
    cores = Cores(*(int(core) for core in options.pin.split(","))) if options.pin else Cores()
    quick: bool = options.quick
    repeats: int = 1 if quick else options.repeats
    with_peers: bool = not (options.without_peers or quick)
    table = Table()
    works: dict[str, Callable[[int], object]] = {
        "at-once": lambda _: load.at_once(table, 2_000 if quick else 20_000, cores, peers=with_peers),
        "streams-256": lambda _: load.paced(table, 256, 4 if quick else 7, cores, peers=with_peers),
        "streams-1024": lambda _: load.paced(table, 1024, 3 if quick else 5, cores, peers=with_peers),
        "disturbed-256": lambda _: truth.disturbed(table, 256, 2 if quick else 5, cores, itl_ms=10.0),
        "disturbed-64": lambda _: truth.disturbed(table, 64, 4 if quick else 60, cores, itl_ms=0.5),
        "disturbed-4": lambda _: truth.disturbed(table, 4, 4 if quick else 60, cores, itl_ms=5.0),
        "client-bound": lambda number: [
            truth.client_bound(table, requests, cores)
            for requests in ((2_000,) if quick or number > 3 else (2_000, 22_000))
        ],
        "loaded": lambda _: truth.loaded(table, 100 if quick else 400),
        "poisson": lambda number: openloop.poisson(table, 3 if quick else 60, seed=number),
        "fixed": lambda _: fixed.cost(table),
        "stall": lambda _: openloop.stalled(table, 6 if quick else 10),
        "live": lambda _: live.measure(table, 3 if quick else 10, events=16 if quick else EVENTS),
        "tokens": lambda _: tokens.measure(
            table, repeats=repeats, scale=1_000 if quick else 100_000, works=[*tokens.SHAPES, "phase"]
        ),
        "checkpoints": lambda _: checkpoints.measure(table, 2_000 if quick else checkpoints.RECORDS),
        "million": lambda _: endurance.million(table, 20_000 if quick else options.requests, cores),
    }
    wanted = [work for name in options.only or WORKS for work in (TRUTH if name == "truth" else (name,))]
    status = 0
    try:
        if with_peers and not WITH_PEERS.isdisjoint(wanted):
            peers.set_up()
        if options.base:
            base = pairs.work_tree(options.base)
            works["pairs-paced"] = lambda number: pairs.paced(
                table, 256, 3 if quick else 7, cores, base, number=number
            )
            works["pairs-at-once"] = lambda number: pairs.at_once(
                table, 4_000 if quick else 20_000, cores, base, number=number
            )
        for work in wanted:
            if work not in works:
                print(f"{work}: left out, because no --base REVISION is given", file=sys.stderr)
                continue
            times = 1 if work in ONCE else repeats
            for number in range(1, times + 1):
                print(f"{work}: {number} of {times}", file=sys.stderr)
                works[work](number)
    except BenchError as error:
        print(f"stopped: {error}", file=sys.stderr)
        status = 1
    cpus = len(os.sched_getaffinity(0))
    print(f"{platform.platform()}, {cpus} cores, Python {platform.python_version()}, medians of {repeats}")
    print(table)
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="everything once, small, without peers: a smoke test"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="repetitions of each work (default 5)"
    )
    parser.add_argument(
        "--only", action="append", choices=("truth", *WORKS), help="this work alone; may be repeated"
    )
    parser.add_argument("--without-peers", action="store_true", help="leave SGLang and aiperf out")
    parser.add_argument("--base", metavar="REVISION", help="the commit to measure pairs against")
    parser.add_argument("--pin", metavar="S,C", help="server on core S, closed-loop clients on core C")
    parser.add_argument(
        "--requests",
        type=int,
        default=1_000_000,
        metavar="N",
        help="size of the work `million` (default 1,000,000)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
