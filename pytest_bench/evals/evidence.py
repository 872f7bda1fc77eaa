"""The rows that an eval asked, kept beside its checkpoint: without them, answers cannot be scored elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import STRICT_JSON, read_plain, write_atomic

ROWS = "rows.jsonl"
FEW_SHOTS = "few_shots.jsonl"

_LARGEST = 4 << 30


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows in order, one JSON object a line, with the order of its columns."""
    lines = (json.dumps(dict(row), ensure_ascii=False, allow_nan=False) for row in rows)
    write_atomic(path, "".join(f"{line}\n" for line in lines).encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows in a file that `write_rows` wrote. Raises `EvidenceError` with the line for anything else."""
    try:
        *lines, rest = read_plain(path, _LARGEST).decode().split("\n")
    except (OSError, ValueError) as error:
        raise EvidenceError(f"{path}: cannot be read: {error}") from error
    if rest:
        raise EvidenceError(f"{path}:{len(lines) + 1}: its last line is not whole")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = STRICT_JSON.decode(line)
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"{path}:{number}: is not strict JSON: {error}") from error
        if not isinstance(row, dict):
            raise EvidenceError(f"{path}:{number}: is not an object")
        rows.append(row)
    return rows
