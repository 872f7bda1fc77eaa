"""Token counts of a phase, joined to its records by request id."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from pytest_bench.errors import EvidenceError

ABSENT = -1
"""Represents None in columns of integers. Times and counts are never negative."""


CountedBy = Literal["tokenizer", "tokenize"]
"""Source of a counts log: the client's tokenizer, or the server's `/tokenize` (inputs only)."""


class TokenCount(msgspec.Struct, frozen=True, gc=False):
    """Token counts of one request. None: not counted."""

    request_id: str
    input_tokens: int | None
    output_tokens: int | None
    """Content, reasoning and tool arguments together."""
    first_event_tokens: int | None = None
    """Tokens in the first content event (streams only)."""


class Lengths(msgspec.Struct, frozen=True):
    """Token counts in the order of some records; `ABSENT` if a request has no count."""

    input: NDArray[np.int64]
    output: NDArray[np.int64]
    first_event: NDArray[np.int64]


def request_key(request_id: str) -> int:
    """A request id as 64 bits. A million ids collide once in 10**7 phases, and a collision is detected."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=8).digest(), "big", signed=True)


class TokenCounts:
    """Counts of many requests, in 32 bytes each."""

    def __init__(
        self, counts: Iterable[TokenCount], *, by: CountedBy = "tokenizer", template: bool = True
    ) -> None:
        """Take the counts of a phase, made `by` the client's tokenizer or the server.

        `template` is false if chat inputs were counted without the model's chat template. Raises `EvidenceError` if a
        request is counted twice.
        """
        self.by = by
        self.template = template
        rows = array("q")
        for count in counts:
            rows.extend(
                (
                    request_key(count.request_id),
                    ABSENT if count.input_tokens is None else count.input_tokens,
                    ABSENT if count.output_tokens is None else count.output_tokens,
                    ABSENT if count.first_event_tokens is None else count.first_event_tokens,
                )
            )
        table = np.frombuffer(rows, dtype=np.int64).reshape(-1, 4)
        self._table = table[np.argsort(table[:, 0])]
        self._keys = np.ascontiguousarray(self._table[:, 0])
        if (self._keys[1:] == self._keys[:-1]).any():
            raise EvidenceError(
                "token counts: a request is counted twice; expected one line a request in tokens.jsonl: "
                "count again with `pytest-bench recount`"
            )

    def __len__(self) -> int:
        return self._keys.size

    def of(self, keys: NDArray[np.int64]) -> Lengths:
        """The counts of the requests with these keys, in their order."""
        if not self._keys.size:
            nothing = np.full(keys.size, ABSENT, dtype=np.int64)
            return Lengths(nothing, nothing, nothing)
        place = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        known = self._keys[place] == keys
        found = np.where(known[:, None], self._table[place, 1:], ABSENT)
        return Lengths(found[:, 0], found[:, 1], found[:, 2])
