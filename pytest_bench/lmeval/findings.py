"""One thing that is wrong, and where."""

from __future__ import annotations

import reprlib
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """A problem of one file, and of one field of it where it is that precise."""

    kind: Literal["fail", "error"]
    """`fail`: measured, or reported, and not good enough. `error`: nothing there can be trusted."""
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
    """A value that may come from anywhere, short and on one line."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80
