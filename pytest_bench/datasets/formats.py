"""Read dataset files into raw rows, one reader per format. Each row carries its position in the file.

A reader yields `Raw`: a row, or a complaint about it. Reading continues after a bad row if the format allows it,
so that all bad rows are reported at once.
"""

from __future__ import annotations

import csv
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pytest_bench.errors import DatasetError, EvidenceError
from pytest_bench.files import STRICT_JSON, open_plain, read_plain, wrong_in_line
from pytest_bench.suite.problems import nearest_file
from pytest_bench.suite.traces import session_columns

LARGEST_DATASET = 4 << 30
"""Largest size of a dataset file in bytes: rows are held in memory."""

_BOM = b"\xef\xbb\xbf"
_SKIP = "remove the conversation from the file, or add `skip_bad: true` to leave out such rows"
_SPACE = re.compile(r"[ \t\r\n]*")


class Raw(NamedTuple):
    """One row as the file has it."""

    origin: str
    """Position: `file:line`, with the number of the entry in a JSON array; `file: row N` for Parquet."""
    row: dict[str, Any] | None
    """None for a row that cannot be read."""
    complaint: str = ""
    """What is wrong with such a row."""
    last: bool = False
    """Nothing after this row can be read."""


def read_rows(path: Path, file_format: str) -> Iterator[Raw]:
    """The rows of a file in its order.

    Raises `DatasetError` if the file cannot be read at all, is not a regular file, or is larger than
    `LARGEST_DATASET`.
    """
    reader = _READERS.get(file_format)
    if reader is None:
        raise DatasetError(f"{path}: unknown format {file_format!r}; expected one of {', '.join(_READERS)}")
    return reader(path)


def _bytes(path: Path) -> bytes:
    with _readable(path):
        return read_plain(path, LARGEST_DATASET).removeprefix(_BOM)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert what reading `path` raises into `DatasetError`."""
    try:
        yield
    except EvidenceError as error:
        raise DatasetError(str(error)) from error
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path}: there is no such file{nearest_file(path)}; put it there, or correct `path`, which is relative "
            "to the file that declares it"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # of a path that holds a null character
        raise DatasetError(f"{str(path)!r}: is not a file name: {error}") from error


def _text(path: Path) -> str:
    data = _bytes(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{path}:{line}: not UTF-8; save the file as UTF-8") from error


def _jsonl(path: Path) -> Iterator[Raw]:
    for number, line in enumerate(_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        origin = f"{path}:{number}"
        try:
            value = STRICT_JSON.decode(line.decode("utf-8"))
        except UnicodeDecodeError:
            yield Raw(origin, None, "not UTF-8; save the file as UTF-8")
        except (ValueError, RecursionError) as error:
            yield Raw(origin, None, f"not valid JSON: {wrong_in_line(error)}")
        else:
            yield _object(origin, value)


def _json(path: Path) -> Iterator[Raw]:
    """A JSON array of objects, decoded one by one so that the position of each is known."""
    text = _text(path)
    position = _skip(text, 0)
    if text[position : position + 1] != "[":
        raise DatasetError(f"{path}: expected a JSON array of objects (JSONL files end in .jsonl)")
    position, line, counted, entry = _skip(text, position + 1), 1, 0, 0
    while text[position : position + 1] != "]":
        line, counted, entry = line + text.count("\n", counted, position), position, entry + 1
        origin = f"{path}:{line}: entry {entry}"
        try:
            value, position = STRICT_JSON.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            yield Raw(origin, None, f"not valid JSON: {_reason(error)}", last=True)
            return
        yield _object(origin, value)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
        elif text[position : position + 1] != "]":
            yield Raw(origin, None, "not valid JSON: expected ',' or ']' after this row", last=True)
            return
    if text[position + 1 :].strip():
        line = text.count("\n", 0, position) + 1
        yield Raw(f"{path}:{line}", None, "more text after the JSON array", last=True)


def _csv(path: Path) -> Iterator[Raw]:
    text = _text(path)
    # Python limits a field to 128 KiB, process-wide, which is shorter than some prompts.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        return iter(_csv_rows(path, text))
    finally:
        csv.field_size_limit(limit)


def _csv_rows(path: Path, text: str) -> list[Raw]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Raw] = []
    try:
        header = next(reader, [])
        repeated = sorted({name for name in header if header.count(name) > 1 or not name})
        if repeated:
            raise DatasetError(
                f"{path}:1: every column needs a name of its own; repeated or empty: {repeated}"
            )
        line = reader.line_num + 1
        for cells in reader:
            origin, line = f"{path}:{line}", reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header):
                rows.append(Raw(origin, None, f"{len(cells)} cells; the header has {len(header)}"))
            else:
                rows.append(
                    Raw(origin, {name: cell or None for name, cell in zip(header, cells, strict=True)})
                )
    except csv.Error as error:
        rows.append(Raw(f"{path}:{reader.line_num}", None, f"not valid CSV: {error}", last=True))
    return rows


def _sharegpt(path: Path) -> Iterator[Raw]:
    """ShareGPT conversations: the first human turn is the prompt, as in vLLM's and SGLang's benchmarks.

    Columns that link conversations to sessions are kept, so that they are refused as in every other format.
    """
    for raw in _jsonl(path) if path.suffix in (".jsonl", ".ndjson") else _json(path):
        yield raw if raw.row is None else _first_turn(raw.origin, raw.row)


def _first_turn(origin: str, row: dict[str, Any]) -> Raw:
    turns = row.get("conversations", row.get("conversation"))
    if not isinstance(turns, list):
        return Raw(origin, None, "not a ShareGPT row; expected 'conversations', a list of {from, value}")
    prompt: dict[str, Any] = {
        name: value for name, value in row.items() if value is not None and session_columns([name])
    }
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            return Raw(origin, None, "a turn is not an object with 'from' and a text 'value'")
        speaker = turn.get("from")
        if speaker == "system" and "system" not in prompt:
            prompt["system"] = turn["value"]
        if speaker in ("human", "user"):
            if not turn["value"].strip():
                return Raw(origin, None, f"the first human turn is empty; {_SKIP}")
            return Raw(origin, {**prompt, "prompt": turn["value"]})
    return Raw(origin, None, f"a conversation without a human turn; {_SKIP}")


def _parquet(path: Path) -> Iterator[Raw]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
        arrow = importlib.import_module("pyarrow")
    except ImportError as error:
        raise DatasetError(
            f"{path}: reading Parquet needs pyarrow; install it with: pip install 'pytest-inference-bench[parquet]'"
        ) from error
    with _readable(path), open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > LARGEST_DATASET:
            raise EvidenceError(f"{path}: is {size} bytes long; expected at most {LARGEST_DATASET}")
        try:
            table = parquet.read_table(stream)
        except (OSError, arrow.ArrowException) as error:
            raise DatasetError(f"{path}: cannot be read as Parquet: {_reason(error)}") from error
    number = 0
    for batch in table.to_batches():
        for row in batch.to_pylist():
            number += 1
            yield Raw(f"{path}: row {number}", row)


_READERS: dict[str, Callable[[Path], Iterator[Raw]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _csv,
    "sharegpt": _sharegpt,
    "parquet": _parquet,
}


def _object(origin: str, value: object) -> Raw:
    if not isinstance(value, dict):
        return Raw(origin, None, f"a row is an object; found {type(value).__name__}")
    return Raw(origin, value)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return position if match is None else match.end()


def _reason(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error).partition("\n")[0]
