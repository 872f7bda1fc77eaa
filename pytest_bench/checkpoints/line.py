"""One line of a checkpoint: its fields, its bytes."""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.lines import encode_line

CHECKPOINT_VERSION = 1

Kind = Literal["header", "session", "result", "error", "score", "end"]

KEYED: frozenset[Kind] = frozenset({"result", "error", "score"})
"""Kinds of lines that belong to one request."""

HEADER_START = b'{"v":1,"seq":0,"kind":"header","payload":{'
"""First bytes of every checkpoint."""


class Key(msgspec.Struct, frozen=True, order=True, gc=False):
    """Identifies one request of an eval."""

    item: str
    """Id of the item in its dataset."""
    content: str
    """Hash of the item's content."""
    repeat: int
    """From 0."""
    concurrency: int

    def __str__(self) -> str:
        return f"item {self.item!r}, repeat {self.repeat}, concurrency {self.concurrency}"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded line. `payload` stays encoded until it is needed."""

    v: int
    seq: int
    """Position in the file, from 0 without a gap, across all sessions."""
    kind: Kind
    key: Key | None = None
    payload: msgspec.Raw = msgspec.Raw(b"{}")


def encode(seq: int, kind: Kind, payload: bytes, key: bytes | None = None) -> bytes:
    """Bytes of a line. `payload` and `key` are JSON objects, encoded."""
    keyed = b"" if key is None else b'"key":%b,' % key
    return encode_line(
        b'{"v":%d,"seq":%d,"kind":"%b",%b"payload":%b}'
        % (CHECKPOINT_VERSION, seq, kind.encode(), keyed, payload)
    )
