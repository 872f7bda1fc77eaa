"""Every request of a session as one Parquet table, for notebooks and databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_bench.errors import UsageError
from pytest_bench.load.log import read_records
from pytest_bench.metrics.token_counts import ABSENT, TokenCounts, request_key
from pytest_bench.records import Moments, RequestRecord, Usage
from pytest_bench.results.layout import point_path
from pytest_bench.results.summary import read_summary
from pytest_bench.running.counting import read_counted
from pytest_bench.suite.plan import Plan

_ROWS = 1 << 16
"""Requests in a row group, and in memory at one time."""

_TEXTS = ("point", "phase", "request_id")
_INTEGERS = (
    "index",
    "sample_index",
    "endpoint",
    "scheduled_ns",
    "send_start_ns",
    "turnaround_ns",
    "connect_ns",
    "request_sent_ns",
    "first_byte_ns",
    "first_content_ns",
    "first_output_ns",
    "last_content_ns",
    "end_ns",
    "event_count",
    "content_event_count",
    "status",
    "request_bytes",
    "response_bytes",
    "polls",
)
"""Fields of `RequestRecord`, under its names."""
_RESULTS = ("outcome", "error", "error_detail", "finish_reason")
_USAGE = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_MOMENTS = ("first_content", "first_output", "last_content")
_COUNTED = ("counted_input_tokens", "counted_output_tokens")


def write_requests(results: Path, plan: Plan, path: Path) -> int:
    """Write one row for each request of every point that has request logs. Returns the number of rows.

    Times are CLOCK_MONOTONIC nanoseconds; null means that the event did not happen. Raises `UsageError` if pyarrow is
    not installed, `EvidenceError` for damaged logs, and `OSError`.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 # optional, and large
        from pyarrow import parquet  # noqa: PLC0415 # as above
    except ImportError as error:
        raise UsageError(
            "a Parquet table needs pyarrow, which is not installed: pip install 'pytest-inference-bench[parquet]'"
        ) from error
    schema = pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            *((name, pa.int64()) for name in _INTEGERS),
            *((name, pa.string()) for name in _RESULTS),
            ("resent", pa.bool_()),
            ("server_time_s", pa.float64()),
            *((f"usage_{name}", pa.int64()) for name in _USAGE),
            *((f"{name}_uncertainty_ns", pa.int64()) for name in _MOMENTS),
            *((name, pa.int64()) for name in _COUNTED),
        ]
    )
    partial = path.with_name(f".{path.name}.partial")
    written = 0
    try:
        with parquet.ParquetWriter(partial, schema) as writer:
            for rows in _batches(results, plan):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                written += len(rows)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _batches(results: Path, plan: Plan) -> Iterator[list[dict[str, Any]]]:
    for point in plan.points:
        folder = results / point_path(point.id)
        if not (folder / "summary.json").exists():
            continue
        for phase in read_summary(folder).phases:
            if not any((folder / phase.folder).glob("requests.*.jsonl")):
                continue  # an eval keeps its requests in its checkpoint
            tokens = read_counted(folder / phase.folder).tokens
            for records in _chunks(read_records(folder / phase.folder)):
                counted = _counted(records, tokens)
                yield [
                    {
                        "point": point.id,
                        "phase": phase.label,
                        **_row(record),
                        **dict(zip(_COUNTED, own, strict=True)),
                    }
                    for record, own in zip(records, counted, strict=True)
                ]


def _chunks(records: Iterable[RequestRecord]) -> Iterator[list[RequestRecord]]:
    remaining = iter(records)
    while chunk := list(itertools.islice(remaining, _ROWS)):
        yield chunk


def _row(record: RequestRecord) -> dict[str, Any]:
    usage, uncertainty = record.usage or Usage(), record.uncertainty_ns or Moments()
    return {
        "request_id": record.request_id,
        **{name: getattr(record, name) for name in (*_INTEGERS, *_RESULTS)},
        "resent": record.resent,
        "server_time_s": record.server_time_s,
        **{f"usage_{name}": getattr(usage, name) for name in _USAGE},
        **{f"{name}_uncertainty_ns": getattr(uncertainty, name) for name in _MOMENTS},
    }


def _counted(
    records: Sequence[RequestRecord], tokens: TokenCounts | None
) -> list[tuple[int | None, int | None]]:
    """Input and output tokens of each request as the tokenizer counted them."""
    if tokens is None:
        return [(None, None)] * len(records)
    lengths = tokens.of(np.array([request_key(record.request_id) for record in records], dtype=np.int64))
    return [
        tuple(None if value == ABSENT else value for value in pair)  # type: ignore[misc] # a pair
        for pair in zip(lengths.input.tolist(), lengths.output.tolist(), strict=True)
    ]
