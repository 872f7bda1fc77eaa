"""The files of an audit that MLPerf's submission checker reads."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.audits.contract import AuditResult, AuditTest
from pytest_bench.files import readable_json, write_atomic

AUDIT_VERSION = 1


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What every `audit_<artifact>.json` holds; the details of the audit stand beside it."""

    version: int = AUDIT_VERSION
    test: str
    passed: bool
    reason: str
    """The rule with its numbers, in one line."""
    order: str
    """Whether it ran before the benchmark that it vouches for."""


def json_name(audit: AuditTest) -> str:
    return f"audit_{audit.artifact}.json"


def text_name(audit: AuditTest) -> str:
    return f"verify_{audit.artifact.upper()}.txt"


def artifacts(audit: AuditTest, result: AuditResult, *, order: str) -> dict[str, bytes]:
    """What both hold, by name."""
    record = AuditRecord(test=audit.artifact, passed=result.passed, reason=result.reason, order=order)
    lines = "".join(f"{line}\n" for line in result.lines)
    return {
        json_name(audit): readable_json({**result.details, **msgspec.structs.asdict(record)}),
        text_name(audit): lines.encode(),
    }


def write_artifacts(folder: Path, audit: AuditTest, result: AuditResult, *, order: str) -> None:
    """Write both, each whole or not at all. The record comes first, so that the words a checker looks for
    never stand without it."""
    for name, data in artifacts(audit, result, order=order).items():
        write_atomic(folder / name, data)
