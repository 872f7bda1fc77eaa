"""Server-sent events: from the body of a response to one JSON array of the events' data.

Nearly every server writes one `data: {...}` line an event and ends lines with LF: such a body is split in a few
passes at C speed. Any other framing (CRLF, comments, several data lines, other fields) is read line by line, as
section 9.2.6 of the WHATWG HTML specification describes. Both ways give the same answer.

Two things differ from the specification, because servers of models do them:

- Events whose data is empty or `null` are keep-alives and are skipped.
- A field named `error`, and an event of type `error`, are an error of the server, whatever their data.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pytest_bench.api import Malformed

_BOM = b"\xef\xbb\xbf"
_PREFIX = b"data: {"
_SEPARATOR = b"\n\ndata: "
_OBJECT = b"\n\ndata: {"
_DONE = b"[DONE]"
_DONE_LAST = _SEPARATOR + _DONE + b"\n\n"
_KEEP_ALIVES = (b"", b"null")

_LINE = re.compile(rb"([^\r\n]+)(\r\n?|\n)([\r\n]*)")
"""A line that is not blank, its end, and the ends of all blank lines that follow."""
_MOST_LINES = 2_000_000
"""More lines than any answer has; reading as many one by one takes about a second."""
_FIRST_LINE = re.compile(rb"\s*(?:data|event|id|retry|error)?:")


class Events(NamedTuple):
    """The events of one stream."""

    array: bytes
    """Their data as one JSON array, without `[DONE]`, keep-alives and errors."""
    size: int
    """Number of events in the array."""
    done: bool
    """Whether `[DONE]` ended the stream. Nothing after it is read."""
    ends: list[int] | None
    """Where each event (`[DONE]` included) ended in the body; None for the common framing, where every
    event ends in two newlines and nothing else does."""
    error: bytes | None = None
    """Data of the first error event, or value of the first `error` field; None if there is neither."""
    unseparated: int = 0
    """Number of `data` lines that begin a new JSON object although no blank line ended the event before."""


def is_event_stream(body: bytes) -> bool:
    """Whether `body` begins like a stream of events, whatever its content type."""
    return _FIRST_LINE.match(body.removeprefix(_BOM)) is not None


def split_events(body: bytes) -> Events:
    """Split a whole body into its events. As the specification says, an event that no blank line ends is dropped.

    Raises `Malformed` for a stream of more than `_MOST_LINES` lines that are not blank.
    """
    if body.startswith(_PREFIX) and body.endswith(b"\n\n") and b"\r" not in body:
        objects = body.count(_OBJECT) + 1
        done = body.endswith(_DONE_LAST)
        # No other line is left over, so every event is one line, and only the last may be [DONE].
        if body.count(b"\n") == 2 * (objects + done) and objects < _MOST_LINES:
            end = len(body) - len(_DONE_LAST if done else b"\n\n")
            return Events(b"[%b]" % body[6:end].replace(_SEPARATOR, b","), objects, done, None)
    return _split_by_line(body)


def _split_by_line(body: bytes) -> Events:
    events: list[bytes] = []
    ends: list[int] = []
    data: list[bytes] = []
    error: bytes | None = None
    kind = b""
    done = False
    unseparated = 0
    start = len(_BOM) if body.startswith(_BOM) else 0
    whole_lines = max(body.rfind(b"\n"), body.rfind(b"\r")) + 1
    for number, match in enumerate(_LINE.finditer(body, start, whole_lines)):
        if number == _MOST_LINES:
            raise Malformed(f"a stream of more than {_MOST_LINES:,} lines")
        line, _, blank = match.groups()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            unseparated += bool(data) and _ends_object(data[-1]) and _begins_event(value)
            data.append(value)
        elif field == b"event":
            kind = value
        elif field == b"error" and error is None:
            error = value
        if not blank:
            continue
        event = b"\n".join(data).strip()
        if kind.lower() == b"error":
            error = event if error is None else error
        elif event not in _KEEP_ALIVES:
            ends.append(match.start(3) + (2 if blank.startswith(b"\r\n") else 1))
            if event == _DONE:
                done = True
                break
            events.append(event)
        data.clear()
        kind = b""
    return Events(b"[%b]" % b",".join(events), len(events), done, ends, error, unseparated)


def _ends_object(line: bytes) -> bool:
    return line.rstrip().endswith(b"}")


def _begins_event(line: bytes) -> bool:
    return line.lstrip().startswith((b"{", _DONE))
