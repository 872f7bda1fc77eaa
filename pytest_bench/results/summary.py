"""`summary.json`, the result of one point, and `point.json`, the point as it was run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.records import WARMUP, PhaseResult
from pytest_bench.results.details import AnyDetail, Detail
from pytest_bench.results.reading import read_versioned
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.outcome import Judgement

SUMMARY_VERSION = 5
NAME = "summary.json"
POINT_VERSION = 2
POINT = "point.json"


D = TypeVar("D", bound=Detail)

_LABEL = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class DatasetUsed(msgspec.Struct, frozen=True, kw_only=True):
    """The data that a point used."""

    name: str
    digest: str
    """sha256 of all rows in order."""
    rows: int
    skipped: int = 0
    """Number of invalid rows skipped by `skip_bad`."""


class PointFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `point.json`: the point as it was run."""

    version: int = POINT_VERSION
    point: Point
    digest: str
    """Digest of everything the point depends on."""
    nonce: str
    """Nonce of the session."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `summary.json`: a point's measurement, the client's health, and the judgement."""

    version: int = SUMMARY_VERSION
    point: str
    point_digest: str
    nonce: str
    judgement: Judgement
    measurement: Measurement | None
    """Measurement of the judged phase; None if nothing could be measured."""
    phases: tuple[PhaseResult, ...]
    """All phases in the order in which they ran, with the client's health."""
    dataset: DatasetUsed | None
    served: tuple[str, ...] = ()
    """URLs of the endpoints."""
    identities: tuple[dict[str, Any], ...] = ()
    """Identity of each endpoint: served models, version, Server header, and the attempts to determine them."""
    tokenizer: dict[str, Any] | None = None
    """The tokenizer that counted, its back end, and how it was verified; None if no tokens were counted."""
    foreign_files: dict[str, str] = {}
    """sha256 of each file of the point whose bytes are a server's or another tool's, so that it does not have the nonce
    (`results.nonces`)."""
    detail: AnyDetail
    """What only this kind of point has."""

    @property
    def vacancy(self) -> float | None:
        """Highest vacancy of the phases that are judged. None if none of them is a closed loop."""
        shares = [phase.health.vacancy for phase in self.phases if phase.label != WARMUP]
        return max((share for share in shares if share is not None), default=None)

    def detail_as(self, kind: type[D]) -> D:
        """The detail of a point of this kind. Raises `EvidenceError` if it is that of another kind."""
        if not isinstance(self.detail, kind):
            raise EvidenceError(f"detail.kind: is {self.detail.kind()!r}; expected {kind.kind()!r}")
        return self.detail


def read_summary(folder: Path) -> Summary:
    """Read the summary in a point's evidence folder. Raises `EvidenceError` if it is invalid, or if the folder of a
    phase does not match its label."""
    path = folder / NAME
    summary = read_versioned(path, Summary, SUMMARY_VERSION)
    for number, phase in enumerate(summary.phases):
        if not _LABEL.fullmatch(phase.label) or phase.folder != f"phases/{phase.label}":
            raise EvidenceError(f"{path}: phases[{number}].folder does not match its label")
    return summary
