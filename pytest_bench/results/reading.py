"""Strict, versioned reading of the JSON files of a results folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json

T = TypeVar("T")


def read_versioned(path: Path, type_: type[T], version: int) -> T:
    """Read the file at `path` as a `type_`. Its field `version` must equal `version`.

    Raises `EvidenceError` with the file and the problem.
    """
    if path.is_symlink():
        raise EvidenceError(f"{path}: is a link, which a session never writes")
    raw = read_json(path)
    found = raw.get("version") if isinstance(raw, dict) else None
    if found != version or isinstance(found, bool):
        raise EvidenceError(
            f"{path}: expected version {version} of {path.name}, found version {found!r}; "
            "read it with the release that wrote it"
        )
    try:
        return msgspec.convert(raw, type_)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise EvidenceError(f"{path}: is not a valid {path.name}: {error}") from error
