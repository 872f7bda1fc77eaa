"""One raw row to the columns that an API reads, or to what is wrong with it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

_ROLES = ("system", "developer", "user", "assistant", "tool")
_MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"})
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 64
"""Levels of lists and objects in a row: more than any request needs, fewer than Python can recurse."""
_OPTIONAL_TEXTS = frozenset({"system", "negative_prompt"})


class BadRow(ValueError):
    """What is wrong with a row, in words that follow its position."""


def map_row(
    row: Mapping[str, Any],
    mapping: Mapping[str, str],
    columns: Collection[str] | None,
    required: frozenset[str],
) -> dict[str, Any]:
    """The row under the API's names, nulls left out.

    With a `mapping` (API column -> column of the file) every mapped column must be there and the others are
    left aside; without one, every column must be one of `columns`. `columns` None takes any. Raises `BadRow`.
    """
    if mapping:
        for source in mapping.values():
            if source not in row:
                raise BadRow(f"no column {source!r}{_nearest(source, row)}; it has {_listed(row)}")
        mapped = {name: row[source] for name, source in mapping.items()}
    else:
        for name in row:
            if columns is not None and name not in columns:
                raise BadRow(f"unknown column {name!r}{_nearest(name, columns)}; expected {_listed(columns)}")
        mapped = dict(row)
    mapped = {name: value for name, value in mapped.items() if value is not None}
    if required and not required & mapped.keys():
        raise BadRow(f"none of the columns {_listed(required)}; expected one of them")
    for name, value in mapped.items():
        check = _CHECKS.get(name)
        if check is not None:
            mapped[name] = check(name, value)
        elif isinstance(value, str) and name in required and not value.strip():
            raise BadRow(f"{name!r} is empty; expected text")
    _check_encodable(mapped)
    return mapped


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
            raise BadRow(f"{where} has an unknown key {unknown[0]!r}{_nearest(unknown[0], _MESSAGE_KEYS)}")
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
"""Columns whose shape is the same for every API; the API itself judges the others when it encodes them."""


def _check_encodable(value: object, depth: int = 0) -> None:
    """Raises `BadRow` for what no JSON body can hold."""
    if depth > _DEEPEST:
        raise BadRow(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        if not value.isascii() and _LONE_SURROGATE.search(value):
            raise BadRow("text with a lone surrogate, which is no text")
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


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def _nearest(word: str, words: Collection[str]) -> str:
    near = difflib.get_close_matches(word, [str(name) for name in words], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
