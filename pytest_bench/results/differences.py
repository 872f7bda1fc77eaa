"""Describes the differences between two JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, canonical_json, read_json, read_plain, readable_json

_RELATIVE = 1e-9
"""Machines may round a sum of floats differently, by less than this relative error."""

_ABSENT = object()


def plain(value: object) -> Any:
    """Convert `value` to plain types by encoding and decoding JSON."""
    return msgspec.json.decode(canonical_json(value))


def file_differences(path: Path, value: object, *, bytewise: bool = False) -> Iterator[str]:
    """Yield the fields of the file at `path` that differ from `value`; with `bytewise`, also any difference in bytes.

    Raises `EvidenceError`.
    """
    found = list(differences(read_json(path), plain(value)))
    try:
        if bytewise and not found and read_plain(path, LARGEST_JSON) != readable_json(value):
            found = [
                "the fields are right, but the bytes differ from what a session writes: the file was rewritten"
            ]
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
    yield from (f"{path.name}: {sentence}" for sentence in found)


def differences(recorded: Any, recomputed: Any, field: str = "", *, rounded: bool = False) -> Iterator[str]:
    """Yield a sentence for each field of `recorded` (from a file) that differs in `recomputed`.

    With `rounded`, floats may differ by the rounding error of a sum.
    """
    if isinstance(recorded, dict) and isinstance(recomputed, dict):
        for name in sorted(recorded.keys() | recomputed.keys()):
            inner = f"{field}.{name}" if field else name
            one, other = recorded.get(name, _ABSENT), recomputed.get(name, _ABSENT)
            yield from differences(one, other, inner, rounded=rounded)
    elif isinstance(recorded, list) and isinstance(recomputed, list):
        for number, (one, other) in enumerate(zip_longest(recorded, recomputed, fillvalue=_ABSENT)):
            yield from differences(one, other, f"{field}[{number}]", rounded=rounded)
    elif not _equal(recorded, recomputed, rounded=rounded):
        yield f"{field or 'the file'} is {_show(recorded)}; recomputed it is {_show(recomputed)}"


def _equal(recorded: Any, recomputed: Any, *, rounded: bool) -> bool:
    if isinstance(recorded, bool) or isinstance(recomputed, bool):
        return recorded is recomputed
    if (
        rounded
        and isinstance(recorded, float)
        and isinstance(recomputed, int | float)
        and abs(recorded) < 1e300
    ):
        return math.isclose(recorded, recomputed, rel_tol=_RELATIVE)
    return bool(recorded == recomputed)


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**40 else "a very large number"
    return text if len(text) <= 120 else f"{text[:117]}..."
