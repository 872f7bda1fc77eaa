"""Map a raw row to the columns that an API reads, and validate it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pytest_bench.suite.traces import session_columns
from pytest_bench.wording import did_you_mean, one_of

_ROLES = ("system", "developer", "user", "assistant", "tool")
_MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"})
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 64
"""Levels of nesting in a row: more than any request needs, fewer than Python can recurse."""
_USUAL_PROMPTS = ("question", "instruction", "input", "text", "query", "problem", "caption")
"""Column names that public datasets use for a prompt, offered as the column to map."""
_OPTIONAL_TEXTS = frozenset({"system", "negative_prompt"})


class BadRow(ValueError):
    """A row that cannot be used. The message follows the row's position."""


def map_row(
    row: Mapping[str, Any],
    mapping: Mapping[str, str],
    columns: Collection[str] | None,
    required: frozenset[str],
) -> dict[str, Any]:
    """The row under the API's names, without nulls.

    With a `mapping` (API column -> column of the file), every mapped column must exist and the others are ignored.
    Without one, every column must be one of `columns`; None accepts any. Raises `BadRow`.
    """
    if mapping:
        for source in mapping.values():
            if source not in row:
                raise BadRow(f"no column {source!r}; the row has {_sorted(row)}{did_you_mean(source, row)}")
        mapped = {name: row[source] for name, source in mapping.items()}
    else:
        if columns is not None and (unknown := sorted(row.keys() - set(columns))):
            raise BadRow(_unknown(row, unknown, columns, required))
        mapped = dict(row)
    mapped = {name: value for name, value in mapped.items() if value is not None}
    if required and not required & mapped.keys():
        raise BadRow(f"none of the columns {_sorted(required)}; expected one of them")
    for name, value in mapped.items():
        check = _CHECKS.get(name)
        if check is not None:
            mapped[name] = check(name, value)
        elif isinstance(value, str) and name in required and not value.strip():
            raise BadRow(f"{name!r} is empty; expected text")
    _check_encodable(mapped)
    return mapped


def linking_columns(row: Mapping[str, Any], columns: Collection[str]) -> str:
    """A complaint about columns that link `row` to other rows, such as `session_id`; empty if there are none.

    A column that the API reads itself (one of `columns`) links nothing.
    """
    return session_columns(name for name, value in row.items() if value is not None and name not in columns)


def _unknown(
    row: Mapping[str, Any], unknown: list[str], columns: Collection[str], required: frozenset[str]
) -> str:
    """The complaint about columns that the API does not read, with the mapping that would select the right one."""
    plural = "s" if len(unknown) > 1 else ""
    complaint = f"unknown column{plural} {', '.join(map(repr, unknown))}; expected {_sorted(columns)}"
    wanted = sorted(required & row.keys()) or sorted(required, key=lambda name: (name != "prompt", name))
    source = _source(row, wanted[0]) if wanted else None
    if source is None:
        return complaint
    mapping = f"{{{wanted[0]}: {source}}}"
    return f"{complaint}; to use only the columns that you name, add `columns: {mapping}` to the dataset"


def _source(row: Mapping[str, Any], wanted: str) -> str | None:
    """The column of `row` that most likely holds what the API calls `wanted`."""
    texts = [name for name, value in row.items() if isinstance(value, str) and value.strip()]
    usual = (name for name in (wanted, *_USUAL_PROMPTS) if name in row)
    return next(usual, None) or next(iter(texts), None)


def _check_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRow(f"{name!r} is {_kind(value)}; expected text")
    if not value.strip() and name not in _OPTIONAL_TEXTS:
        raise BadRow(f"{name!r} is empty; expected text")
    return value


def _check_prompt(name: str, value: object) -> object:
    if isinstance(value, list) and value and all(type(token) is int for token in value):
        return value
    return _check_text(name, value)


def _check_count(name: str, value: object) -> int:
    # A CSV file has nothing but text.
    number = (
        int(value)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16
        else value
    )
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise BadRow(f"{name!r} is {value!r}; expected a whole number greater than 0")
    return number


def _check_messages(name: str, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise BadRow(f"{name!r} is {_kind(value)}; expected a list of {{role, content}}")
    if not value:
        raise BadRow(f"{name!r} is empty; expected a list of {{role, content}}")
    for position, message in enumerate(value):
        where = f"{name}[{position}]"
        if not isinstance(message, dict):
            raise BadRow(f"{where} is {_kind(message)}; expected {{role, content}}")
        unknown = sorted(message.keys() - _MESSAGE_KEYS)
        if unknown:
            raise BadRow(
                f"{where} has an unknown key {unknown[0]!r}{did_you_mean(unknown[0], _MESSAGE_KEYS)}"
            )
        if message.get("role") not in _ROLES:
            raise BadRow(f"{where} has the role {message.get('role')!r}; expected one of {', '.join(_ROLES)}")
        _check_content(where, message)
    return value


def _check_content(where: str, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return
    if isinstance(content, list):
        if not content or not all(
            isinstance(part, dict) and isinstance(part.get("type"), str) for part in content
        ):
            raise BadRow(f"{where}: content is a list; expected parts with a 'type' each")
    elif not isinstance(content, str):
        raise BadRow(f"{where}: content is {_kind(content)}; expected text, or a list of parts")
    elif not content.strip() and message["role"] == "user":
        raise BadRow(f"{where}: content is empty; expected text")


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "prompt": _check_prompt,
    "system": _check_text,
    "negative_prompt": _check_text,
    "messages": _check_messages,
    "max_tokens": _check_count,
}
"""Columns whose shape is the same for every API. The API validates the others when it encodes them."""


def _check_encodable(value: object, depth: int = 0) -> None:
    """Raises `BadRow` for a value that a JSON body cannot hold."""
    if depth > _DEEPEST:
        raise BadRow(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        if not value.isascii() and _LONE_SURROGATE.search(value):
            raise BadRow("text with a lone surrogate, which UTF-8 cannot encode")
    elif isinstance(value, dict):
        for key, part in value.items():
            _check_encodable(key, depth + 1)
            _check_encodable(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            _check_encodable(part, depth + 1)
    elif isinstance(value, int | float):
        _check_number(value)
    elif value is not None:
        raise BadRow(f"a value of type {type(value).__name__}; expected text, numbers, lists and objects")


def _check_number(value: float) -> None:
    if not math.isfinite(value):
        raise BadRow(f"{value} is not a finite number")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise BadRow("a whole number that does not fit into 64 bits")


def _kind(value: object) -> str:
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _sorted(names: Iterable[str]) -> str:
    return one_of(sorted(map(str, names)))
