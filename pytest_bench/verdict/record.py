"""What the processes of a session write down for later: `ledger.json`, everything the ledger was told, so that
it can be settled again elsewhere; `withheld.json`, on which deployment nothing more may run, and why."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json, readable_json, write_atomic
from pytest_bench.verdict.events import Event, ExpectedPoint, Lease, SessionFacts

LEDGER_VERSION = 1
WITHHELD_VERSION = 1
NAME = "ledger.json"
WITHHELD = "withheld.json"
LOCK = ".session"
"""Held (flock) by the session that writes the folder, until its end; says where its JUnit file is."""


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `settle` takes, but for the evidence, which is read anew each time."""

    version: int = LEDGER_VERSION
    expected: tuple[ExpectedPoint, ...]
    events: tuple[Event, ...]
    leases: tuple[Lease, ...]
    facts: SessionFacts


class WithheldFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `withheld.json` holds: there from before an audit until it has ended `pass` or `fail`."""

    version: int = WITHHELD_VERSION
    nonce: str
    """Of the session that withholds."""
    audit: str
    """Its id."""
    because: str


def write_record(results: Path, record: SessionRecord) -> str:
    """Write the record into a results folder, atomically; returns the sha256 of the file. Raises `OSError`."""
    data = readable_json(record)
    return hashlib.sha256(write_atomic(results / NAME, data)).hexdigest()


def read_record(results: Path) -> SessionRecord:
    """Read the record of a results folder. Raises `EvidenceError` for anything else."""
    path = results / NAME
    raw = read_json(path)
    version = raw.get("version") if isinstance(raw, dict) else None
    if version != LEDGER_VERSION or isinstance(version, bool):
        raise EvidenceError(
            f"{path}: expected a ledger of version {LEDGER_VERSION}, found version {version!r}"
        )
    try:
        return msgspec.convert(raw, SessionRecord)
    except msgspec.ValidationError as error:
        raise EvidenceError(f"{path}: is no ledger: {error}") from error


def json_schema() -> dict[str, Any]:
    """JSON Schema of `ledger.json`."""
    return msgspec.json.schema(SessionRecord)
