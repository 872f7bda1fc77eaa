"""A declared dataset to validated rows in a fixed order, with the digest that evidence records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pytest_bench.datasets.columns import BadRow, map_row
from pytest_bench.datasets.formats import read_rows
from pytest_bench.datasets.synthetic import make_rows
from pytest_bench.datasets.writer import TextTokenizer
from pytest_bench.errors import DatasetError
from pytest_bench.files import canonical_json
from pytest_bench.suite.plan import DatasetPlan

COMPLAINTS_SHOWN = 20
"""Bad rows reported at once; reading stops there."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows that an API can encode, in the order of the file."""

    name: str
    rows: tuple[Mapping[str, Any], ...]
    """Each by API column; never empty."""
    digest: str
    """sha256 over the rows in order, each as canonical JSON and a newline."""
    length_unit: Literal["tokens", "words"] | None = None
    """What the lengths of a synthetic dataset count: words where no tokenizer was at hand; None for files."""

    def __len__(self) -> int:
        return len(self.rows)


def load_dataset(
    plan: DatasetPlan,
    *,
    columns: Mapping[str, str] | None,
    required: frozenset[str],
    tokenizer: TextTokenizer | None,
) -> Dataset:
    """Read or make the dataset of `plan`.

    `columns` are those that rows may have (of which each has at least one of `required`), as the API
    describes them; None takes any, for evals. `tokenizer` is needed for exact lengths of synthetic prompts.
    Raises `DatasetError` for a file that cannot be read, for an empty dataset, and for bad rows, of which up
    to `COMPLAINTS_SHOWN` are reported at once with file and line.
    """
    if plan.synthetic is not None:
        made = make_rows(plan.name, plan.synthetic, columns, tokenizer)
        return Dataset(
            name=plan.name,
            rows=made,
            digest=rows_digest(made),
            length_unit="words" if tokenizer is None else "tokens",
        )
    if plan.path is None or plan.format is None:
        raise DatasetError(
            f"{plan.origin}: dataset {plan.name!r} has neither a file with a format nor `synthetic`"
        )
    try:
        rows, complaints = _read(Path(plan.path), plan.format, plan.columns, columns, required)
    except DatasetError as error:
        raise DatasetError(f"{plan.origin}: dataset {plan.name!r}: {error}") from error
    if complaints:
        raise DatasetError("\n  ".join([f"{plan.origin}: dataset {plan.name!r} has bad rows:", *complaints]))
    if not rows:
        raise DatasetError(f"{plan.origin}: dataset {plan.name!r} is empty: {plan.path} holds no row")
    return Dataset(plan.name, tuple(rows), rows_digest(rows))


def _read(
    path: Path,
    file_format: str,
    mapping: Mapping[str, str],
    columns: Mapping[str, str] | None,
    required: frozenset[str],
) -> tuple[list[Mapping[str, Any]], list[str]]:
    """Rows of a file, and complaints about those that are bad."""
    rows: list[Mapping[str, Any]] = []
    complaints: list[str] = []
    for raw in read_rows(path, file_format):
        complaint = raw.complaint
        if raw.row is not None:
            try:
                rows.append(map_row(raw.row, mapping, columns, required))
            except BadRow as error:
                complaint = str(error)
        if complaint:
            complaints.append(f"{raw.origin}: {complaint}")
        if len(complaints) == COMPLAINTS_SHOWN:
            break
    return rows, complaints


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """sha256 (hex) over rows in order."""
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(canonical_json(row))
        sha256.update(b"\n")
    return sha256.hexdigest()
