"""Fast decoding of streams whose events differ only in one text, as in nearly all streams.

Hundreds of events repeat the same JSON around a few characters of text, and decoding all of it costs far more than
finding the texts. So the JSON before and after the first text is taken as a template, every event of the run is checked
to be exactly that template around a text, and only the texts are decoded. The API's own decoder reads the other events
and one probe of the template; it must find that the probe adds its text and nothing else. A stream that differs in any
way is decoded event by event.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter, methodcaller

import msgspec

from pytest_bench.api import Api, Decoded, Malformed
from pytest_bench.load.framing import split_events

_PREFIX = b"data: "
_BLANK_LINE = b"\n\n"
_DONE = b"data: [DONE]"
_PROBE = b"X"

_FEWEST = 12
"""Number of events below which the short cut is not worth it."""
_LARGEST = 1 << 24
"""Bytes of a body above which it is not split in memory."""
_HEAD, _TAIL = 4, 6
"""Most events before and after the run."""

_is_whole = methodcaller("endswith", _BLANK_LINE)
_decode_text = msgspec.json.Decoder(str).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode


class Deltas(msgspec.Struct, frozen=True, gc=False):
    """A stream that was decoded by the short cut."""

    decoded: Decoded
    done: bool
    """Whether `[DONE]` ended it."""
    one_event_per_piece: bool
    """Whether each piece of the body is one event."""


def read_deltas(parts: Sequence[bytes], api: Api) -> Deltas | None:
    """Decode a whole stream; None if it must be decoded event by event. `parts` are the pieces of the body."""
    key = api.delta_key
    frames = _frames(parts)
    if key is None or frames is None:
        return None
    one_event_per_piece = frames[-1].endswith(_BLANK_LINE)
    done = frames[-1] == (_DONE + _BLANK_LINE if one_event_per_piece else _DONE)
    size = len(frames) - done
    start = _first_text(frames, key)
    if start is None:
        return None
    first = frames[start]
    begin = first.find(key) + len(key)
    prefix, suffix = first[:begin], first[first.find(b'"', begin) :]
    stop = size
    while stop > size - _TAIL and not (
        frames[stop - 1].startswith(prefix) and frames[stop - 1].endswith(suffix)
    ):
        stop -= 1
    run = _read_run(frames[start:stop], prefix, suffix)
    if run is None:
        return None
    text, first_text = run
    others = [*frames[: start + 1], prefix + _PROBE + suffix, *frames[stop:size]]
    decoded = _others(others, start, first_text, api, one_event_per_piece=one_event_per_piece)
    if decoded is None:
        return None
    decoded.content = text
    decoded.event_count = size
    decoded.content_events = range(start, stop)
    return Deltas(decoded, done, one_event_per_piece)


def _frames(parts: Sequence[bytes]) -> Sequence[bytes] | None:
    """The events, each with its `data: `; None if the framing is uncommon or the stream is short.

    If every piece of the body seems to be an event, these are the pieces with their blank lines. `_read_run` and
    `_others` check that they are.
    """
    if len(parts) >= _FEWEST and parts[0].startswith(_PREFIX) and parts[-1].endswith(_BLANK_LINE):
        return parts
    body = b"".join(parts)
    if (
        len(body) > _LARGEST
        or not body.startswith(_PREFIX)
        or not body.endswith(_BLANK_LINE)
        or b"\r" in body
    ):
        return None
    lines = body.split(b"\n")
    frames = lines[:-2:2]
    return frames if len(frames) >= _FEWEST and not any(lines[1::2]) else None


def _first_text(frames: Sequence[bytes], key: bytes) -> int | None:
    for number in range(_HEAD):
        at = frames[number].find(key)
        if at >= 0 and frames[number][at + len(key) : at + len(key) + 1] != b'"':
            return number
    return None


def _read_run(run: Sequence[bytes], prefix: bytes, suffix: bytes) -> tuple[str, str] | None:
    """The text of a run of events and that of its first event; None unless each is prefix, non-empty text, suffix."""
    pieces = list(map(itemgetter(slice(len(prefix), -len(suffix))), run))
    events = b"".join(run)
    inside = (suffix + prefix).join(pieces)
    if (
        b"" in pieces
        or len(events) != len(prefix) + len(inside) + len(suffix)
        or not events.startswith(prefix)
        or not events.startswith(inside, len(prefix))
        or not events.endswith(suffix)
    ):
        return None
    whole = b"".join(pieces)
    try:
        # Without escapes and multi-byte characters, no piece can change the meaning of the next.
        if whole.isascii() and b"\\" not in whole:
            return _decode_text(b'"%b"' % whole), _decode_text(b'"%b"' % pieces[0])
        # A piece that is not exactly the inside of one JSON string changes the number of texts or is invalid JSON.
        texts = _decode_texts(b'["%b"]' % b'","'.join(pieces))
    except msgspec.DecodeError:
        return None
    return ("".join(texts), texts[0]) if len(texts) == len(pieces) else None


def _others(
    frames: Sequence[bytes], start: int, first_text: str, api: Api, *, one_event_per_piece: bool
) -> Decoded | None:
    """Decode the events outside the run, its first event, and the probe after it.

    None unless the probe adds only its text, and every frame is one event.
    """
    if one_event_per_piece and not all(map(_is_whole, frames)):
        return None
    body = b"".join(frames) if one_event_per_piece else b"\n\n".join(frames) + _BLANK_LINE
    events = split_events(body)
    if events.size != len(frames) or events.ends is not None or events.done:
        return None
    try:
        decoded = api.decode_stream(events.array)
    except Malformed:
        return None
    if decoded.content != first_text + _PROBE.decode() or decoded.content_events != [start, start + 1]:
        return None
    if decoded.first_output_event != start or decoded.first_event_text != first_text:
        return None
    more = decoded.reasoning or decoded.tool_calls or decoded.token_ids or decoded.content_event_tokens
    return None if more else decoded
