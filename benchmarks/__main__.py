"""`python -m benchmarks`: run the works and print their figures."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable

from benchmarks import endurance, fixed, live, load, openloop, peers, tokens
from benchmarks.clients import Cores
from benchmarks.figures import Table
from benchmarks.server import EVENTS
from pytest_bench.errors import BenchError

WORKS = ("at-once", "streams-256", "streams-1024", "poisson", "fixed", "stall", "live", "million", "tokens")
ONCE = frozenset({"million", "tokens"})
"""Works that repeat within themselves, or are too long to repeat."""


def main() -> int:
    options = _options()
    cores = Cores(*(int(core) for core in options.pin.split(","))) if options.pin else Cores()
    quick: bool = options.quick
    repeats: int = 1 if quick else options.repeats
    with_peers: bool = not (options.without_peers or quick)
    table = Table()
    works: dict[str, Callable[[int], None]] = {
        "at-once": lambda _: load.at_once(table, 2_000 if quick else 20_000, cores, peers=with_peers),
        "streams-256": lambda _: load.paced(table, 256, 4 if quick else 7, cores, peers=with_peers),
        "streams-1024": lambda _: load.paced(table, 1024, 3 if quick else 5, cores, peers=with_peers),
        "poisson": lambda number: openloop.poisson(table, 3 if quick else 60, seed=number),
        "fixed": lambda _: fixed.cost(table),
        "stall": lambda _: openloop.stalled(table, 6 if quick else 10),
        "live": lambda _: live.measure(table, 3 if quick else 10, events=16 if quick else EVENTS),
        "tokens": lambda _: tokens.measure(
            table, repeats=repeats, scale=1_000 if quick else 100_000, works=[*tokens.SHAPES, "phase"]
        ),
        "million": lambda _: endurance.million(table, 20_000 if quick else options.requests, cores),
    }
    status = 0
    try:
        if with_peers:
            peers.set_up()
        for work in options.only or WORKS:
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
    parser.add_argument("--only", action="append", choices=WORKS, help="this work alone; may be repeated")
    parser.add_argument("--without-peers", action="store_true", help="leave SGLang and aiperf out")
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
