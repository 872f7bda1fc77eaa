"""Options whose values are validated, with errors that name the option, the value and what was expected."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from pytest_bench.errors import UsageError
from pytest_bench.files import STRICT_JSON, wrong_in_line

T = TypeVar("T")


def add_option(
    group: argparse._ActionsContainer,
    *options: str,
    convert: Callable[[str, str], object] | None = None,
    **words: Any,
) -> None:
    """Add an option under several names. `convert` gets the names, for its complaint, and the text."""
    if convert is not None:
        words["type"] = partial(convert, "/".join(options))
    group.add_argument(*options, **words)


def count(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < 1:
        raise UsageError(f"{option} {text!r}: expected a whole number, 1 or more")
    return int(text)


def count_or_none(option: str, text: str) -> int:
    return 0 if text == "0" else count(option, text)


def seed(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 2**64:
        raise UsageError(f"{option} {text!r}: expected a whole number from 0 to 2^64 - 1")
    return int(text)


def _number(option: str, text: str, expected: str, holds: Callable[[float], bool]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and holds(value)):
        raise UsageError(f"{option} {text!r}: expected {expected}")
    return value


def rate(option: str, text: str) -> float:
    if text.lower() in {"inf", "infinity"}:
        raise UsageError(
            f"{option} {text!r}: expected requests per second; to send all at once, give --concurrency with the "
            "number of requests"
        )
    return _number(
        option, text, "requests per second, from 0.000001 to 1e9", lambda value: 1e-6 <= value <= 1e9
    )


def positive(option: str, text: str) -> float:
    return _number(option, text, "a number above 0", lambda value: value > 0)


def not_negative(option: str, text: str) -> float:
    return _number(option, text, "a number, 0 or more", lambda value: value >= 0)


def list_of(convert: Callable[[str, str], T]) -> Callable[[str, str], tuple[T, ...]]:
    def converted(option: str, text: str) -> tuple[T, ...]:
        values = tuple(convert(option, part.strip()) for part in text.split(","))
        if len(set(values)) < len(values):
            raise UsageError(f"{option} {text!r}: repeats a value; expected each once")
        return values

    return converted


def json_object(option: str, text: str) -> dict[str, Any]:
    try:
        value = STRICT_JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{option} {text!r}: {wrong_in_line(error)}; expected a JSON object, as in '{{\"top_k\": 1}}'"
        ) from error
    if not isinstance(value, dict):
        raise UsageError(f"{option} {text!r}: expected a JSON object, as in '{{\"top_k\": 1}}'")
    return value
