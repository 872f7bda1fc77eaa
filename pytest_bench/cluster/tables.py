"""Result tables that nodes leave behind: read, and one of them picked. Pure.

A table is a CSV with the columns `model`, `performance` and `metric`, as madengine's models write it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import msgspec

from pytest_bench.errors import EvidenceError

COLUMNS = ("model", "performance", "metric")

_NOT_MEASURED = frozenset({"", "n/a", "na", "nan", "none", "null"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    metric: str
    value: float | None
    """None: not measured."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    rows: tuple[Row, ...]

    @property
    def measured(self) -> int:
        """Rows with a finite value."""
        return sum(row.value is not None for row in self.rows)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A file that may hold the results of a job."""

    path: str
    rank: int
    """Of the node that wrote it."""
    job: str | None
    """The job that its folder belongs to; None if nothing says so."""
    modified_ns: int
    table: Table | None
    problem: str = ""
    """Why there is no table."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """How a candidate was judged, for the evidence."""

    path: str
    rank: int
    measured: int
    rows: int
    modified_ns: int
    refused: str
    """Why it cannot be picked; empty if it can."""


class Picked(msgspec.Struct, frozen=True, kw_only=True):
    chosen: Candidate | None
    scores: tuple[Score, ...]
    """Of all candidates, the best first."""


def read_table(data: bytes, path: str) -> Table:
    """Read a CSV file. Raises `EvidenceError`, which names file and line.

    A byte order mark, the case of headers and spaces around cells are ignored. A file without any line is an empty
    table. `N/A`, `nan` and empty cells are not measured; so is a value that is not finite.
    """
    try:
        text = data.decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvidenceError(f"{path}: is not a CSV file in UTF-8: {error}") from error
    filled = [(number, [cell.strip() for cell in line]) for number, line in enumerate(lines, 1)]
    filled = [(number, line) for number, line in filled if any(line)]
    if not filled:
        return Table(rows=())
    header = [cell.lower() for cell in filled[0][1]]
    if missing := [name for name in COLUMNS if header.count(name) != 1]:
        raise EvidenceError(
            f"{path}:{filled[0][0]}: expected the columns {', '.join(COLUMNS)}, each once; "
            f"{', '.join(missing)}: found {[header.count(name) for name in missing]} times"
        )
    places = {name: header.index(name) for name in COLUMNS}
    return Table(rows=tuple(_row(line, places, f"{path}:{number}") for number, line in filled[1:]))


def _row(line: Sequence[str], places: dict[str, int], where: str) -> Row:
    if len(line) <= max(places.values()):
        raise EvidenceError(f"{where}: has {len(line)} cells, fewer than the header")
    text = line[places["performance"]]
    try:
        value = None if text.lower() in _NOT_MEASURED else float(text)
    except ValueError as error:
        raise EvidenceError(f"{where}: performance {text!r}: expected a number, or N/A") from error
    if value is not None and not math.isfinite(value):
        value = None
    return Row(model=line[places["model"]], metric=line[places["metric"]], value=value)


def pick(candidates: Sequence[Candidate], *, job: str, started_ns: int) -> Picked:
    """Pick the table with most measured rows; then most rows, the newest, and the lowest rank.

    Only a file of `job` that is newer than the start of the job, and has a table, can be picked.
    """
    ordered = sorted(candidates, key=lambda each: (bool(_refusal(each, job, started_ns)), *_order(each)))
    scores = tuple(
        Score(
            path=each.path,
            rank=each.rank,
            measured=each.table.measured if each.table else 0,
            rows=len(each.table.rows) if each.table else 0,
            modified_ns=each.modified_ns,
            refused=_refusal(each, job, started_ns),
        )
        for each in ordered
    )
    chosen = ordered[0] if scores and not scores[0].refused else None
    return Picked(chosen=chosen, scores=scores)


def _order(candidate: Candidate) -> tuple[int, int, int, int, str]:
    table = candidate.table or Table(rows=())
    return (-table.measured, -len(table.rows), -candidate.modified_ns, candidate.rank, candidate.path)


def _refusal(candidate: Candidate, job: str, started_ns: int) -> str:
    if candidate.job != job:
        return f"belongs to {f'job {candidate.job}' if candidate.job else 'no known job'}, not to job {job}"
    if candidate.modified_ns < started_ns:
        return "is older than the start of the job"
    if candidate.table is None:
        return candidate.problem or "has no table"
    return ""
