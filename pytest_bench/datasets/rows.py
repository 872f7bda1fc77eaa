"""Load a declared dataset: validated rows in file order, with the digest that evidence records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pytest_bench.datasets.columns import BadRow, linking_columns, map_row
from pytest_bench.datasets.formats import read_rows
from pytest_bench.datasets.synthetic import make_rows
from pytest_bench.datasets.writer import TextTokenizer
from pytest_bench.errors import DatasetError
from pytest_bench.files import canonical_json
from pytest_bench.suite.plan import DatasetPlan
from pytest_bench.wording import first_lines

COMPLAINTS_SHOWN = 20
"""Largest number of different complaints in one error."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows that an API can encode, in the order of the file."""

    name: str
    rows: tuple[Mapping[str, Any], ...]
    """Each row by API column; never empty."""
    digest: str
    """sha256 over the rows in order, each as canonical JSON and a newline."""
    skipped: int = 0
    """Number of bad rows left out, as `skip_bad` allows."""
    length_unit: Literal["tokens", "words"] | None = None
    """Unit of the lengths of a synthetic dataset: words if there is no tokenizer. None for files."""

    def __len__(self) -> int:
        return len(self.rows)


def load_dataset(
    plan: DatasetPlan,
    *,
    columns: Mapping[str, str] | None,
    required: frozenset[str],
    tokenizer: TextTokenizer | None,
) -> Dataset:
    """Read or generate the dataset of `plan`.

    `columns` are the columns that a row may have, as the API describes them; a row needs at least one of
    `required`. None accepts any column, for evals. `tokenizer` is needed for exact lengths of synthetic prompts.

    Raises `DatasetError` if the file cannot be read, if no row is left, and for bad rows unless `plan.skip_bad`.
    One error holds up to `COMPLAINTS_SHOWN` different complaints, each with the file and line of its first row
    and the number of rows that it is about.
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
        read = _read(Path(plan.path), plan, columns, required)
    except DatasetError as error:
        raise DatasetError(f"{plan.origin}: dataset {plan.name!r}: {error}") from error
    if read.bad and (read.cut_off or not (plan.skip_bad and read.rows)):
        raise DatasetError(
            "\n  ".join([f"{plan.origin}: dataset {plan.name!r} has bad rows:", *_complaints(read)])
        )
    if not read.rows:
        raise DatasetError(f"{plan.origin}: dataset {plan.name!r} is empty: {plan.path} holds no row")
    return Dataset(
        name=plan.name,
        rows=tuple(read.rows),
        digest=rows_digest(read.rows),
        skipped=sum(seen.rows for seen in read.bad.values()),
    )


def rows_digest(rows: Iterable[Mapping[str, Any]]) -> str:
    """sha256 (hex) over rows in order."""
    sha256 = hashlib.sha256()
    for row in rows:
        sha256.update(canonical_json(row))
        sha256.update(b"\n")
    return sha256.hexdigest()


class _Seen(NamedTuple):
    """Where a complaint applies."""

    origin: str
    """Position of the first row."""
    rows: int


class _Read(NamedTuple):
    rows: list[Mapping[str, Any]]
    bad: dict[str, _Seen]
    """Complaints, in the order of their first rows."""
    cut_off: bool
    """The file could not be read to its end."""


def _read(
    path: Path, plan: DatasetPlan, columns: Mapping[str, str] | None, required: frozenset[str]
) -> _Read:
    read = _Read([], {}, cut_off=False)
    for raw in read_rows(path, plan.format or ""):
        complaint = raw.complaint
        if raw.row is not None:
            if columns is not None and (linking := linking_columns(raw.row, columns)):
                raise DatasetError(
                    f"{raw.origin}: {linking}; sessions cannot be replayed: every row would be sent as a request "
                    "of its own. Remove these columns to send the rows independently"
                )
            try:
                read.rows.append(map_row(raw.row, plan.columns, columns, required))
            except BadRow as error:
                complaint = str(error)
        if complaint:
            seen = read.bad.get(complaint, _Seen(raw.origin, 0))
            read.bad[complaint] = _Seen(seen.origin, seen.rows + 1)
        if raw.last:
            read = read._replace(cut_off=True)
    return read


def _complaints(read: _Read) -> Iterator[str]:
    lines = [
        f"{seen.origin}: {complaint}" + (f" ({seen.rows} rows)" if seen.rows > 1 else "")
        for complaint, seen in read.bad.items()
    ]
    return first_lines(lines, COMPLAINTS_SHOWN)
