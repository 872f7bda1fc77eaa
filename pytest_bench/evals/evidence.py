"""The rows that an eval asked, kept beside its checkpoint: without them, answers cannot be scored elsewhere.

    rows.jsonl, few_shots.jsonl    {"row": {…}}, one line a row, in order (format: `pytest_bench.lines`)

The header has the nonce of the session that wrote the file, which every session of a point does again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import STRICT_JSON, write_atomic
from pytest_bench.lines import LineReader, encode_line, end_line, header_line

ROWS = "rows.jsonl"
FEW_SHOTS = "few_shots.jsonl"
ROWS_VERSION = 1


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], *, nonce: str, point: str) -> None:
    """Write rows in order, with the order of their columns. `nonce` and `point` go into the header."""
    header = header_line(path.stem, ROWS_VERSION, nonce=nonce, point=point)
    lines = (
        encode_line(json.dumps({"row": dict(row)}, ensure_ascii=False, allow_nan=False).encode())
        for row in rows
    )
    write_atomic(path, b"".join((header, *lines, end_line(len(rows)))))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows in a file that `write_rows` wrote. Raises `EvidenceError` with the line for anything else."""
    reader = LineReader(path, path.stem, ROWS_VERSION)
    rows = []
    for number, payload in enumerate(reader, start=2):
        try:
            line = STRICT_JSON.decode(payload.decode())
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"{path}:{number}: is not strict JSON: {error}") from error
        row = line.get("row") if isinstance(line, dict) else None
        if not isinstance(row, dict):
            raise EvidenceError(f"{path}:{number}: has no object `row`")
        rows.append(row)
    reader.require_complete()
    return rows
