"""Read traces: recorded arrival times of requests, and their lengths.

The columns are those of the Mooncake traces: `timestamp` (milliseconds), `input_length` and `output_length` (tokens),
and `hash_ids`. Each id denotes a block of tokens, so prompts with the same first ids begin with the same tokens. The
time may also be named `timestamp_s` or `timestamp_ms`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import read_plain, wrong_in_line
from pytest_bench.suite.problems import nearest_file

LARGEST_TRACE = 1 << 30
"""Largest size of a trace file in bytes: arrivals are held in memory."""

_SESSION_COLUMN = re.compile(r"session(_?id)?|delay(_m?s)?|parent(_.*)?", re.IGNORECASE)
_NS = {"timestamp": 10**6, "timestamp_ms": 10**6, "timestamp_s": 10**9}
"""Columns that hold the time of arrival, with nanoseconds a unit."""
_LATEST_NS = 30 * 86_400 * 10**9
"""Later arrivals are mistaken for relative times: they are times of day, or seconds since 1970."""
_LENGTHS = ("input_length", "output_length")


class Trace(NamedTuple):
    """Arrivals in order of time. `lengths` is empty if the file has times only."""

    arrivals_ns: tuple[int, ...]
    lengths: tuple[tuple[int, int], ...]
    """Input and output tokens of each arrival."""
    first_line: int
    """Line of the first arrival."""


def session_columns(names: Iterable[str]) -> str:
    """A complaint about the column names that link requests to sessions; empty if there are none.

    These are `session_id`, `delay` (after the previous turn) and names that begin with `parent`, as traces of
    conversations have them.
    """
    found = sorted(name for name in names if _SESSION_COLUMN.fullmatch(name))
    if not found:
        return ""
    verb = "links" if len(found) == 1 else "link"
    return f"column{'s' if len(found) > 1 else ''} {', '.join(map(repr, found))} {verb} requests to sessions"


def read_trace(path: Path) -> Trace:
    """Read a JSONL or CSV file with ascending times.

    Raises `UsageError`, which names file and line, for anything else, for lengths that only some arrivals have, and
    for columns that link requests to sessions, because each arrival is sent as a request of its own.
    """
    arrivals: list[int] = []
    lengths: list[tuple[int, int]] = []
    first_line = 0
    for line, row in _rows(path):
        where = f"{path}:{line}"
        if linking := session_columns(row):
            raise UsageError(
                f"{where}: {linking}; sessions cannot be replayed: every arrival would be sent as a request of its "
                "own. Remove these columns to send the requests independently"
            )
        arrival, length = _arrival(where, row), _length(where, row)
        first_line = first_line or line
        if arrivals and arrival < arrivals[-1]:
            raise UsageError(f"{where}: earlier than the line before; expected ascending times")
        if arrivals and (length is None) == bool(lengths):
            has, expected = ("no lengths", "them") if lengths else ("lengths", "none")
            raise UsageError(
                f"{where}: has {has}, unlike the lines before; expected {expected} on every line"
            )
        arrivals.append(arrival)
        if length is not None:
            lengths.append(length)
    if not arrivals:
        raise UsageError(f"the trace {path} is empty; expected one line an arrival")
    return Trace(tuple(arrivals), tuple(lengths), first_line)


def read_hash_ids(path: Path, block_size: int) -> tuple[tuple[int, ...], ...]:
    """The block ids of each arrival; a block has `block_size` tokens, the last one may be shorter. Empty if the file
    has none.

    Raises `UsageError`, which names file and line, for ids that only some arrivals have, and for a number of ids that
    does not fit the `input_length`.
    """
    found: list[tuple[int, ...]] = []
    for place, (line, row) in enumerate(_rows(path)):
        where = f"{path}:{line}"
        ids, length = _ids(where, row), _length(where, row)
        if place and (ids is None) == bool(found):
            has, expected = ("no 'hash_ids'", "them") if ids is None else ("'hash_ids'", "none")
            raise UsageError(
                f"{where}: has {has}, unlike the lines before; expected {expected} on every line"
            )
        if ids is None:
            continue
        if length is None:
            raise UsageError(f"{where}: has 'hash_ids' and no 'input_length'; expected both")
        needed = math.ceil(length[0] / block_size)
        if len(ids) != needed:
            raise UsageError(
                f"{where}: has {len(ids)} 'hash_ids'; expected {needed}, for an input_length of {length[0]} in blocks "
                f"of {block_size} tokens (name another `block_size`, or leave the ids aside with `hash_ids: false`)"
            )
        found.append(ids)
    return tuple(found)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line numbers and rows, without nulls and empty cells."""
    try:
        text = read_plain(path, LARGEST_TRACE).decode("utf-8-sig")
    except EvidenceError as error:
        raise UsageError(str(error)) from error
    except FileNotFoundError as error:
        raise UsageError(f"{path}: there is no such file{nearest_file(path)}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the trace {path} is not UTF-8") from error
    return _csv_rows(path, text) if path.suffix == ".csv" else _jsonl_rows(path, text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        for row in reader:
            if None in row:
                raise UsageError(f"{path}:{reader.line_num}: has more cells than the header")
            # CSV has no null: an empty cell means that there is no value.
            yield reader.line_num, {name: cell for name, cell in row.items() if cell}
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: not valid CSV: {error}") from error


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}:{number}: not valid JSON: {wrong_in_line(error)}") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: is not a JSON object; expected one with a 'timestamp'")
        yield number, {name: value for name, value in row.items() if value is not None}


def _arrival(where: str, row: Mapping[str, Any]) -> int:
    columns = [name for name in _NS if name in row]
    if len(columns) != 1:
        raise UsageError(f"{where}: expected a row with one of {', '.join(map(repr, _NS))}")
    [column] = columns
    number = _number(row[column])
    if not number >= 0:
        raise UsageError(f"{where}: {column} is {row[column]!r}; expected a time of at least 0")
    if number * _NS[column] > _LATEST_NS:
        raise UsageError(
            f"{where}: {column} is {row[column]!r}, later than 30 days; times count from the start of the phase: "
            "subtract the first from all"
        )
    return round(number * _NS[column])


def _length(where: str, row: Mapping[str, Any]) -> tuple[int, int] | None:
    given = [name for name in _LENGTHS if name in row]
    if not given:
        return None
    for name in _LENGTHS:
        if name not in row:
            raise UsageError(f"{where}: has {given[0]!r} and no {name!r}; expected both, or neither")
        number = _number(row[name])
        if not (1 <= number <= 2**31 and number.is_integer()):
            raise UsageError(
                f"{where}: {name} is {row[name]!r}; expected a whole number of tokens, at least 1"
            )
    return int(_number(row["input_length"])), int(_number(row["output_length"]))


def _ids(where: str, row: Mapping[str, Any]) -> tuple[int, ...] | None:
    value = row.get("hash_ids")
    if value is None:
        return None
    if isinstance(value, str):  # a cell of a CSV file
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(type(one) is int and one >= 0 for one in value):
        raise UsageError(
            f"{where}: hash_ids is {row['hash_ids']!r}; expected a list of whole numbers from 0 on"
        )
    return tuple(value)


def _number(value: object) -> float:
    """The number in a cell; NaN if it is not a number."""
    try:
        return (
            math.nan if isinstance(value, bool) or not isinstance(value, str | int | float) else float(value)
        )
    except (ValueError, OverflowError):
        return math.nan
