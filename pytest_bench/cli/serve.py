"""`pytest-bench serve`: the built-in simulator in the foreground."""

from __future__ import annotations

import argparse

from pytest_bench.simulator import __main__ as program

SUMMARY = "run the simulator, a server that answers like a model without being one"
EXAMPLE = "pytest-bench serve --port 8000 --ttft-ms 50 --itl-ms 10 --fault reset=0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    program.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 after it was asked to end."""
    return program.run(arguments)
