"""`summary.json` and `point.json`: the result of one point, and the point as it was run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.records import PhaseResult
from pytest_bench.results.reading import read_versioned
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.outcome import Judgement

SUMMARY_VERSION = 2
NAME = "summary.json"
POINT_VERSION = 2
POINT = "point.json"


_LABEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class DatasetUsed(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of which data a point used."""

    name: str
    digest: str
    """sha256 over all rows in order."""
    rows: int
    skipped: int = 0
    """Bad rows of the file that `skip_bad` left out."""


class PointFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `point.json` holds: the point as it was run."""

    version: int = POINT_VERSION
    point: Point
    digest: str
    """Of everything the point depends on."""
    nonce: str
    """Of the session."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A point's measurement, the client's health, and the judgement on both."""

    version: int = SUMMARY_VERSION
    point: str
    point_digest: str
    nonce: str
    judgement: Judgement
    measurement: Measurement | None
    """Of the phase that is judged; None where nothing could be measured."""
    phases: tuple[PhaseResult, ...]
    """Every phase in the order it ran, with the client's health."""
    dataset: DatasetUsed | None
    served: tuple[str, ...] = ()
    """URLs of the endpoints."""
    identities: tuple[dict[str, Any], ...] = ()
    """Who answered there: served models, version, Server header, and what was tried to find out."""
    tokenizer: dict[str, Any] | None = None
    """Which tokenizer counted, by which back end, and how that was proven; None where none did."""
    detail: dict[str, Any] = {}
    """What only this kind of point has to say."""


def read_summary(folder: Path) -> Summary:
    """The summary in a point's evidence folder. Raises `EvidenceError` for anything else, and for one whose phases
    would lead out of the folder."""
    path = folder / NAME
    summary = read_versioned(path, Summary, SUMMARY_VERSION)
    for number, phase in enumerate(summary.phases):
        if not _LABEL.fullmatch(phase.label) or phase.folder != f"phases/{phase.label}":
            raise EvidenceError(f"{path}: phases[{number}].folder is not that of its label")
    return summary
