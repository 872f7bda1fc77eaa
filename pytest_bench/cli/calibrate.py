"""`pytest-bench calibrate`: measure the capacity of this machine as a client."""

from __future__ import annotations

import argparse
import os
import signal

from pytest_bench.errors import UsageError
from pytest_bench.running.calibrate import SECONDS, calibrate
from pytest_bench.running.capacity import found, store_path, write_capacity

SUMMARY = "measure how many streams and requests per second this machine can drive"
EXAMPLE = "pytest-bench calibrate --seconds 5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"length of each step (default: {SECONDS:g}); longer steps give steadier results",
    )


def run(arguments: argparse.Namespace) -> int:
    """0 after storing the calibration. Later sessions warn before a point that exceeds it."""
    if not 0 < arguments.seconds <= 600:
        raise UsageError(f"--seconds is {arguments.seconds:g}: expected more than 0 and at most 600")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, with all cleanup
    path = store_path(os.environ)
    if path is None:
        raise UsageError("there is no folder to keep the calibration in: set XDG_CACHE_HOME")
    capacity = calibrate(lambda sentence: print(sentence, flush=True), seconds=arguments.seconds)
    write_capacity(path, capacity)
    for sentence in found(capacity):
        print(sentence)
    print(f"kept in {path}")
    return 0
