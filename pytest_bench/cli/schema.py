"""`pytest-bench schema`: JSON Schemas of suites and of files in a results folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from pytest_bench import host, records
from pytest_bench.audits.artifacts import AuditRecord
from pytest_bench.cli.contributions import add_plugin_argument
from pytest_bench.cli.planning import words
from pytest_bench.cluster.preflight import NodesFile
from pytest_bench.endpoints.scrape import Reading
from pytest_bench.evals.node_files import StatusFile
from pytest_bench.files import readable_json
from pytest_bench.results.evidence import Evidence
from pytest_bench.results.plan_file import PlanFile
from pytest_bench.results.summary import PointFile, Summary
from pytest_bench.results.withheld import WithheldFile
from pytest_bench.simulator.truth import TruthRecord
from pytest_bench.suite.json_schema import json_schema
from pytest_bench.tokens.counts import InputTokens, OutputTokens
from pytest_bench.verdict import expectation, verdict
from pytest_bench.verdict.events import Event

SUMMARY = "print a JSON Schema, for editors that complete suites and for programs that read results"
EXAMPLE = "pytest-bench schema > suite.schema.json"


def _either(*types: type) -> dict[str, Any]:
    references, defined = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    return {"anyOf": list(references), "$defs": defined}


SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "verdict": verdict.json_schema,
    "evidence": partial(msgspec.json.schema, Evidence),
    "summary": partial(msgspec.json.schema, Summary),
    "point": partial(msgspec.json.schema, PointFile),
    "phase": partial(msgspec.json.schema, records.PhaseFile),
    "audit": partial(msgspec.json.schema, AuditRecord),
    "plan": partial(msgspec.json.schema, PlanFile),
    "environment": partial(msgspec.json.schema, host.Environment),
    "nodes": partial(msgspec.json.schema, NodesFile),
    "node": partial(msgspec.json.schema, StatusFile),
    "withheld": partial(msgspec.json.schema, WithheldFile),
    "expectation": expectation.json_schema,
    "event": partial(msgspec.json.schema, Event),
    "request": partial(msgspec.json.schema, records.RequestRecord),
    "text": partial(msgspec.json.schema, records.TextRecord),
    "tokens": partial(_either, OutputTokens, InputTokens),
    "metrics": partial(msgspec.json.schema, Reading),
    "simulator": partial(msgspec.json.schema, TruthRecord),
}
"""Schemas of files and of lines of logs, by name. That of suites depends on what is installed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=("suite", *SCHEMAS),
        default="suite",
        help="which schema (default: suite)",
    )
    add_plugin_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Return 0. Raises `UsageError` if a plugin cannot be loaded."""
    named = SCHEMAS.get(arguments.what)
    schema = json_schema(words(arguments.plugins)) if named is None else named()
    sys.stdout.write(readable_json(schema).decode())
    return 0
