"""The files of an audit that MLPerf's submission checker reads."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pytest_bench.audits.contract import AuditTest
from pytest_bench.files import readable_json, write_atomic
from pytest_bench.results.details import AuditResult

AUDIT_VERSION = 1


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of every `audit_<artifact>.json`. The details of the audit are in the same object."""

    version: int = AUDIT_VERSION
    test: str
    passed: bool
    reason: str
    """The rule with its numbers, in one line."""
    order: str
    """Whether it ran before or after the benchmark that it audits."""


def json_name(audit: AuditTest) -> str:
    return f"audit_{audit.artifact}.json"


def text_name(audit: AuditTest) -> str:
    return f"verify_{audit.artifact.upper()}.txt"


def artifacts(audit: AuditTest, result: AuditResult, *, order: str) -> dict[str, bytes]:
    """Content of both files, by name."""
    record = AuditRecord(test=audit.artifact, passed=result.passed, reason=result.reason, order=order)
    lines = "".join(f"{line}\n" for line in result.lines)
    return {
        json_name(audit): readable_json({**result.details, **msgspec.structs.asdict(record)}),
        text_name(audit): lines.encode(),
    }


def write_artifacts(folder: Path, audit: AuditTest, result: AuditResult, *, order: str) -> None:
    """Write both files, each atomically. The record comes first, so that the text never exists without it."""
    for name, data in artifacts(audit, result, order=order).items():
        write_atomic(folder / name, data)
