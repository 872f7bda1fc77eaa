"""Summaries for MLPerf of request records made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from pytest_bench.metrics.columns import read_columns
from pytest_bench.metrics.measure import measure
from pytest_bench.metrics.token_counts import TokenCount, TokenCounts
from pytest_bench.records import PhaseResult
from pytest_bench.reports.result_summary import result_summary

PHASE = Path(__file__).parents[1] / "goldens" / "phase.json"


def exported_summary(records, load, counts=None, *, other_counts=None):
    """The summary of a phase of these records, all of which succeeded.

    `counts`: output tokens, and those in the first event, by request id. `other_counts` are exported in their place.
    """
    starts, ends = ([getattr(record, name) for record in records] for name in ("send_start_ns", "end_ns"))
    account = json.loads(PHASE.read_bytes()) | {
        "issued": len(records),
        "succeeded": len(records),
        "failed": 0,
        "failures": {},
        "first_issue_ns": min(starts),
        "last_issue_ns": max(starts),
        "last_completion_ns": max(ends),
        "folder": "phases/measured",
    }
    phase = msgspec.convert(account, PhaseResult)
    columns = read_columns(records)
    measurement = measure(columns, phase, load, tokens=_counted(counts))
    tokens = _counted(other_counts or counts)
    return result_summary(measurement, load, columns, None if tokens is None else tokens.of(columns.key))


def _counted(counts):
    if counts is None:
        return None
    return TokenCounts(
        TokenCount(request_id=name, input_tokens=1, output_tokens=total, first_event_tokens=first)
        for name, (total, first) in counts.items()
    )
