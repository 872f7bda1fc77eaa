"""Where two JSON values differ, a sentence each."""

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
"""Two machines may round a sum of floats differently, and by less than this."""

_ABSENT = object()


def plain(value: object) -> Any:
    """`value` as it is after writing and reading JSON."""
    return msgspec.json.decode(canonical_json(value))


def unlike(path: Path, value: object, *, bytewise: bool = False) -> Iterator[str]:
    """Fields of the file at `path` that differ from `value`; with `bytewise` other bytes of the same meaning, too.

    Raises `EvidenceError`.
    """
    found = list(differences(read_json(path), plain(value)))
    try:
        if bytewise and not found and read_plain(path, LARGEST_JSON) != readable_json(value):
            found = ["its fields are right, its bytes are not those that a session writes: it was rewritten"]
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
    yield from (f"{path.name}: {sentence}" for sentence in found)


def differences(said: Any, found: Any, field: str = "", *, rounded: bool = False) -> Iterator[str]:
    """Fields of `said` (from a file) whose value differs in `found` (computed again).

    With `rounded`, floats may differ by the rounding of a sum.
    """
    if isinstance(said, dict) and isinstance(found, dict):
        for name in sorted(said.keys() | found.keys()):
            inner = f"{field}.{name}" if field else name
            one, other = said.get(name, _ABSENT), found.get(name, _ABSENT)
            yield from differences(one, other, inner, rounded=rounded)
    elif isinstance(said, list) and isinstance(found, list):
        for number, (one, other) in enumerate(zip_longest(said, found, fillvalue=_ABSENT)):
            yield from differences(one, other, f"{field}[{number}]", rounded=rounded)
    elif not _equal(said, found, rounded=rounded):
        yield f"{field or 'the file'} is {_show(said)}; worked out anew it is {_show(found)}"


def _equal(said: Any, found: Any, *, rounded: bool) -> bool:
    if isinstance(said, bool) or isinstance(found, bool):
        return said is found
    if rounded and isinstance(said, float) and isinstance(found, int | float):
        return math.isclose(said, found, rel_tol=_RELATIVE) if -1e300 < said < 1e300 else said == found
    return bool(said == found)


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**40 else "a very large number"
    return text if len(text) <= 120 else f"{text[:117]}..."
