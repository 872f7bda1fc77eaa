"""`pytest-bench schema`: the languages of this product as JSON Schema."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.files import readable_json
from pytest_bench.running.summary import Summary
from pytest_bench.suite.json_schema import json_schema
from pytest_bench.suite.plan import Plan
from pytest_bench.verdict import evidence, record, verdict

SUMMARY = "print a JSON Schema: of suites, for editors, or of what lands on disk"
EXAMPLE = "pytest-bench schema > suite.schema.json"

SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "suite": lambda: json_schema(vocabulary(all_apis([]))),
    "verdict": verdict.json_schema,
    "evidence": lambda: msgspec.json.schema(evidence.Evidence),
    "summary": lambda: msgspec.json.schema(Summary),
    "plan": lambda: msgspec.json.schema(Plan),
    "ledger": record.json_schema,
}
"""What can be printed, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=tuple(SCHEMAS),
        default="suite",
        help="which one; suites unless said otherwise",
    )


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    sys.stdout.write(readable_json(SCHEMAS[arguments.what]()).decode())
    return 0
