"""Where two JSON values differ, a sentence each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.files import canonical_json, read_json

_RELATIVE = 1e-9
"""Two machines may round a sum of floats differently, and by less than this."""

_ABSENT = object()


def plain(value: object) -> Any:
    """`value` as it reads once it has been written as JSON."""
    return msgspec.json.decode(canonical_json(value))


def unsaid(path: Path, value: object) -> Iterator[str]:
    """Fields of the file `value` was read from that are not what was understood.

    A field left out would be taken for its default, and an unknown one for nothing. Raises `EvidenceError`.
    """
    for sentence in differences(read_json(path), plain(value)):
        yield f"{path.name}: {sentence}"


def differences(said: Any, found: Any, field: str = "", *, rounded: bool = False) -> Iterator[str]:
    """Fields of `said` (what a file holds) that are otherwise in `found` (what was worked out anew).

    With `rounded`, sums of floats may differ as much as two machines make them.
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
