"""A problem of a file and its position."""

from __future__ import annotations

import reprlib
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """A problem of one file, and of one of its fields if it is that specific."""

    kind: Literal["fail", "error"]
    """`fail`: measured or reported, and not good enough. `error`: the evidence cannot be trusted."""
    file: str
    field: str
    sentence: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.field}" if self.field else self.file
        return f"{self.kind}: {where}: {self.sentence}"


def fail(file: str, field: str, sentence: str) -> Finding:
    return Finding("fail", file, field, sentence)


def error(file: str, field: str, sentence: str) -> Finding:
    return Finding("error", file, field, sentence)


def excerpt(value: object) -> str:
    """A short, single-line form of an untrusted value."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80
