"""Server-sent events: from the body of a response to one JSON array of its events.

The common framing (one `data: ` line an event, LF) takes a few C-speed passes over the whole body; any
other legal framing (CRLF, comments, several data lines, other fields) takes the line-by-line road of the
WHATWG specification, section 9.2.6. Both give the same answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_bench.api import Malformed

_PREFIX = b"data: "
_SEPARATOR = b"\n\ndata: "
_DONE = b"[DONE]"
_DONE_ALONE = _PREFIX + _DONE + b"\n\n"
_DONE_LAST = _SEPARATOR + _DONE + b"\n\n"
_LINE = re.compile(rb"([^\r\n]*)([\r\n]+)")
"""A line, its end, and all blank lines that follow: however many they are, they cost one step."""
_MOST_EVENTS = 1_000_000
"""No answer has more; splitting so many in an uncommon framing takes about a second."""


class Events(NamedTuple):
    """The events of one stream."""

    array: bytes
    """Their data as one JSON array, `[DONE]` left out."""
    size: int
    """How many are in the array."""
    done: bool
    """Whether `[DONE]` ended the stream."""
    ends: list[int] | None
    """Where each event (`[DONE]` included) ended in the body; None for the common framing, where every
    event ends in two newlines and nothing else does."""


def split_events(body: bytes) -> Events:
    """Split a whole body into its events. A last event without its blank line is dropped, as the
    specification of server-sent events says."""
    if body.startswith(_PREFIX) and body.endswith(b"\n\n") and b"\r" not in body:
        count = body.count(_SEPARATOR) + 1
        if body.count(b"\n") == 2 * count:
            done = body.endswith(_DONE_LAST) or body == _DONE_ALONE
            if not done and _DONE_LAST in body:
                return _split_by_line(body)  # what follows [DONE] is no part of the stream
            end = len(body) - 2
            if done:
                count -= 1
                end = max(len(_PREFIX), len(body) - len(_DONE_LAST))
            return Events(b"[%b]" % body[len(_PREFIX) : end].replace(_SEPARATOR, b","), count, done, None)
    return _split_by_line(body)


def _split_by_line(body: bytes) -> Events:
    events: list[bytes] = []
    ends: list[int] = []
    data: list[bytes] = []
    done = False
    start = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    for match in _LINE.finditer(body, start):
        line, run = match.groups()
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        first = _newline_bytes(run, 0)
        if data and len(run) > first:
            event = b"\n".join(data)
            data = []
            if not done:
                ends.append(match.start(2) + first + _newline_bytes(run, first))
                done = event == _DONE
                if not done:
                    events.append(event)
                    if len(events) > _MOST_EVENTS:
                        raise Malformed(f"more than {_MOST_EVENTS:,} events")
    return Events(b"[%b]" % b",".join(events), len(events), done, ends)


def _newline_bytes(run: bytes, at: int) -> int:
    """How long the line end at this place is."""
    return 2 if run.startswith(b"\r\n", at) else 1
