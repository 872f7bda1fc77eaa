"""What a JUnit file says of a session and its points: written when it ends, held against the verdict by `verify`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pytest_bench.errors import BenchError
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.running.summary import read_summary
from pytest_bench.verdict.judge import show
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.verdict import PointVerdict, Verdict

ELEMENT: Mapping[Outcome, Literal["failure", "error"] | None] = {
    Outcome.PASS: None,
    Outcome.FAIL: "failure",
    Outcome.INCONCLUSIVE: "failure",
    Outcome.ERROR: "error",
    Outcome.MISSING: "error",
}
"""What a case holds for an outcome; None: nothing, which is good."""

HEADLINES = (
    "request_throughput",
    "output_token_throughput",
    "time_to_first_token.p50",
    "time_to_first_token.p99",
    "time_per_output_token.p50",
    "request_latency.p99",
    "goodput",
    "failed_requests",
    "empty_outputs",
)
"""Metrics that every point's case carries as properties, where they are known."""

SESSION_PROPERTIES = frozenset({"verdict", "coverage", "left_out"})
"""Names of the properties of the file's one suite."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def class_name(point_id: str) -> str:
    """`suite.kind`."""
    suite, kind, *_ = [*point_id.split("/"), "", ""]
    return f"{suite}.{kind}" if kind else suite


def session_properties(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The properties of the file's one suite, in order; tests may have recorded others."""
    yield "verdict", verdict.status
    yield "coverage", "complete" if verdict.coverage.complete else "partial"
    if verdict.coverage.left_out:
        yield "left_out", " ".join(verdict.coverage.left_out)


def properties(point: PointVerdict, folder: Path) -> Iterator[tuple[str, str]]:
    """The properties of a point's case, in order. `folder` holds its evidence, and maybe nothing."""
    yield "point", point.id
    yield "outcome", point.outcome
    yield "declared_at", point.origin
    if point.labels:
        yield "labels", " ".join(point.labels)
    if point.evidence:
        yield "evidence", point.evidence
    if point.evidence_digest:
        yield "evidence_sha256", point.evidence_digest
    for judged in point.bounds:
        yield f"bound {judged.bound.metric}", f"{judged.state}: {judged.sentence}"
    try:
        measurement = read_summary(folder).measurement
    except BenchError:
        return
    if measurement is not None:
        yield from _headlines(measurement)


def _headlines(measurement: Measurement) -> Iterator[tuple[str, str]]:
    for name in HEADLINES:
        value = measurement.value(name) if name.partition(".")[0] in measurement.metrics else None
        if value is not None:
            yield name, show(value, measurement.unit(name))
            if uncertainty := measurement.uncertainty(name):
                yield f"{name} uncertainty", show(uncertainty, measurement.unit(name), 2)


def clean(text: str) -> str:
    """Without characters that XML cannot hold: a model's output never breaks the file."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
