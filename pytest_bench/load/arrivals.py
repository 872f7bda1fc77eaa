"""When each event of a stream arrived: with the read that completed it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


def event_arrivals(parts: Sequence[bytes], stamps: Sequence[int], ends: Sequence[int] | None) -> list[int]:
    """The stamp of each event, `[DONE]` included.

    `parts` are the pieces of the body, each with the stamp of its read; `ends` where each event ended in the
    body, None where every event ends in two newlines and nothing else does.
    """
    if stamps[0] == stamps[-1]:
        # Everything came with one read.
        return [stamps[0]] * (len(ends) if ends is not None else b"".join(parts).count(b"\n\n"))
    if ends is None:
        ends = _common_ends(b"".join(parts))
    part_ends = list(accumulate(map(len, parts)))
    return [stamps[bisect_left(part_ends, end)] for end in ends]


def _common_ends(body: bytes) -> list[int]:
    ends, at = [], 0
    while (found := body.find(b"\n\n", at)) >= 0:
        at = found + 2
        ends.append(at)
    return ends
