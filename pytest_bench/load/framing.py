"""Server-sent events: from the body of a response to one JSON array of its events.

The common framing (one `data: ` line an event, LF) takes a few C-speed passes over the whole body; any
other legal framing (CRLF, comments, several data lines, other fields) takes the line-by-line road of the
WHATWG specification, section 9.2.6. Both give the same answer.
"""

from __future__ import annotations

from typing import NamedTuple

_PREFIX = b"data: "
_SEPARATOR = b"\n\ndata: "
_DONE = b"[DONE]"
_DONE_ALONE = _PREFIX + _DONE + b"\n\n"
_DONE_LAST = _SEPARATOR + _DONE + b"\n\n"


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
    at = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    while (line_end := _line_end(body, at)) is not None:
        end, following = line_end
        line = body[at:end]
        at = following
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                data.append(value.removeprefix(b" "))
            continue
        if data:
            event = b"\n".join(data)
            data = []
            if not done:
                ends.append(at)
                done = event == _DONE
                if not done:
                    events.append(event)
    return Events(b"[%b]" % b",".join(events), len(events), done, ends)


def _line_end(body: bytes, at: int) -> tuple[int, int] | None:
    """The end of the line that starts at `at`, and the start of the next; None where no line ends."""
    feed = body.find(b"\n", at)
    limit = len(body) if feed < 0 else feed
    carriage = body.find(b"\r", at, limit)
    if carriage >= 0:
        return carriage, carriage + (2 if body.startswith(b"\n", carriage + 1) else 1)
    return None if feed < 0 else (feed, feed + 1)
