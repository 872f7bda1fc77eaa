"""When each event of a stream arrived: with the read that completed it.

Two roads to one answer. Servers send an event a chunk; then the lengths of the chunks say where each event
ended among the bytes that were read, and nothing is looked at again. Otherwise the response is parsed once
more, read by read, to learn how much of the body each read held.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import itemgetter

import httptools

_last_two = itemgetter(slice(-2, None))
_BLANK_LINES = {b"\n\n"}
_LAST_CHUNK = len(b"0\r\n\r\n")
_AFTER_AN_EVENT = len(b"\r\n")
_AROUND_A_CHUNK = len(b"\r\n\r\n")


def event_arrivals(
    reads: Sequence[bytes],
    stamps: Sequence[int],
    parts: Sequence[bytes],
    ends: Sequence[int] | None,
    count: int,
) -> list[int]:
    """The stamp of each of `count` events, `[DONE]` included.

    `reads` are the bytes as they came, each with its stamp; `parts` the pieces of the body, as the parser gave
    them; `ends` where each event ended in the body, None where every event ends in two newlines and nothing
    else does.
    """
    if len(stamps) == 1:
        return [stamps[0]] * count
    # As many parts as events, and each ends where an event does: then every part is one event.
    if ends is None and len(parts) == count and set(map(_last_two, parts)) == _BLANK_LINES:
        arrivals = _by_chunk(reads, stamps, parts)
        if arrivals is not None:
            return arrivals
    return _by_parsing(reads, stamps, _common_ends(b"".join(parts)) if ends is None else ends)


def _by_chunk(reads: Sequence[bytes], stamps: Sequence[int], parts: Sequence[bytes]) -> list[int] | None:
    """None unless every part is one chunk, written the common way: that alone adds up to what was read."""
    head = reads[0].find(b"\r\n\r\n") + 4
    chunks = [size + _AROUND_A_CHUNK + (size.bit_length() + 3) // 4 for size in map(len, parts)]
    ends = list(accumulate(chunks, initial=head))[1:]
    read_ends = list(accumulate(map(len, reads)))
    if ends[-1] + _LAST_CHUNK != read_ends[-1]:
        return None
    stamp_of = dict(zip(read_ends, stamps, strict=True))
    try:
        # A read that ends where a chunk does, and is longer than the line end behind the event, brought its end.
        if min(map(len, reads)) > _AFTER_AN_EVENT:
            return [stamp_of[end] for end in ends]
    except KeyError:
        pass
    return [stamps[bisect_left(read_ends, end - _AFTER_AN_EVENT)] for end in ends]


def _by_parsing(reads: Sequence[bytes], stamps: Sequence[int], ends: Sequence[int]) -> list[int]:
    body = _BodyLength()
    parser = httptools.HttpResponseParser(body)
    arrivals: list[int] = []
    position = 0
    for stamp, read in zip(stamps, reads, strict=True):
        parser.feed_data(read)
        while position < len(ends) and ends[position] <= body.length:
            arrivals.append(stamp)
            position += 1
    return arrivals


def _common_ends(body: bytes) -> list[int]:
    ends, at = [], 0
    while (found := body.find(b"\n\n", at)) >= 0:
        at = found + 2
        ends.append(at)
    return ends


class _BodyLength:
    def __init__(self) -> None:
        self.length = 0

    def on_body(self, data: bytes) -> None:
        self.length += len(data)
