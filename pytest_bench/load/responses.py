"""Turns the complete response of a request, or its failure, into a record.

This runs when the response is complete. Until then a read costs only its stamp and the parser's work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from pytest_bench.api import MOST_TOKENS, Api, Decoded, Malformed, error_text, finish_reason, gave_up
from pytest_bench.load.deltas import read_deltas
from pytest_bench.load.exchange import Exchange, Failure
from pytest_bench.load.framing import Events, is_event_stream, split_events
from pytest_bench.load.moments import Moment, Reads
from pytest_bench.records import Moments, RequestRecord, TextRecord
from pytest_bench.workload import TextPolicy

_LONGEST_SERVER_TIME_S = 1e9
_LONGEST_ERROR = 4_096
"""Limit on the characters kept of an error detail. The logged detail is shorter and is cut after redaction."""


class ExchangeResult(msgspec.Struct, frozen=True, gc=False):
    record: RequestRecord
    text: TextRecord | None
    attachment: bytes | None = None
    """Binary output (a video), if outputs are kept."""
    lags_ns: Sequence[int] = ()
    """As `moments.Reads.lags_ns`, of a complete response."""


def decode_response(
    exchange: Exchange, *, seq: int, api: Api, streaming: bool, texts: TextPolicy
) -> ExchangeResult:
    """Return the record of a request whose response is complete, and its text."""
    record = _record(exchange, seq, exchange.end_ns)
    reads = _reads(exchange, record)
    decoded = _decode(record, exchange, reads, api, streaming=streaming)
    if isinstance(decoded, Failure):
        _fail(record, decoded)
        return ExchangeResult(record, None, lags_ns=reads.lags_ns)
    record.outcome = "succeeded"
    return ExchangeResult(
        record,
        _text(record, decoded, texts),
        decoded.attachment if texts == "keep" else None,
        reads.lags_ns,
    )


def _reads(exchange: Exchange, record: RequestRecord) -> Reads:
    return Reads(
        exchange.reads,
        sent_ns=record.send_start_ns,
        connect_ns=exchange.handshake_ns,
        chunked=exchange.chunked and not exchange.large_reads,
    )


def _decode(
    record: RequestRecord, exchange: Exchange, reads: Reads, api: Api, *, streaming: bool
) -> Decoded | Failure:
    """Decode a complete response and describe it in `record`."""
    end = reads.end()
    _set_moments(record, first_byte=reads.first_byte(), end=end)
    if exchange.status != 200:
        return _bad_status(exchange)
    streamed = _is_stream(exchange)
    if streamed and not streaming:
        return Failure("malformed", "asked for one answer, but a stream of events came")
    stream: _Stream | None = None
    try:
        if streamed:
            stream = _read_stream(exchange.body, api)
            decoded = stream.decoded
        else:
            decoded = api.decode_body(b"".join(exchange.body), exchange.content_type)
        _require_numbers(decoded)
    except Malformed as error:
        return Failure("malformed", str(error))
    except RecursionError:
        return Failure("malformed", "JSON that is nested too deeply")
    except _ReportedError as error:
        return Failure("stream_error", str(error))
    decoded.finish_reason = finish_reason(decoded.finish_reason)
    _describe(record, decoded)
    if failure := _bad_content(decoded, stream, exchange.content_type, streaming=streaming):
        return failure
    if stream is None:
        record.last_content_ns = end.at_ns
        _set_moments(record, last_content=_finished(end, exchange))
    elif decoded.content_events:
        _stamp(record, exchange, reads, stream, decoded)
    return decoded


def abandoned(exchange: Exchange, *, seq: int, end_ns: int, failure: Failure | None) -> ExchangeResult:
    """Return the record of a request without a complete response: failed, or interrupted if `failure` is None."""
    record = _record(exchange, seq, end_ns)
    if exchange.reads:
        _set_moments(record, first_byte=_reads(exchange, record).first_byte())
    if failure is None:
        record.outcome = "interrupted"
    else:
        _fail(record, failure)
    return ExchangeResult(record, None)


def cut_off(
    exchange: Exchange, body: list[bytes], *, seq: int, end_ns: int, api: Api, texts: TextPolicy
) -> ExchangeResult:
    """Return the record of a request that reached its time limit, and the text that had arrived by then.

    `body` is what has arrived. It is a failure if the server has answered with an error until then.
    """
    record = _record(exchange, seq, end_ns)
    if exchange.reads:
        _set_moments(record, first_byte=_reads(exchange, record).first_byte())
    exchange.body = body
    decoded = _bad_status(exchange) if exchange.status not in {None, 200} else _decode_part(exchange, api)
    if isinstance(decoded, Failure):
        _fail(record, decoded)
        return ExchangeResult(record, None)
    record.outcome, record.limit = "succeeded", "time"
    _describe(record, decoded)
    return ExchangeResult(record, _text(record, decoded, texts))


def _decode_part(exchange: Exchange, api: Api) -> Decoded | Failure:
    """Decode the whole events of a stream that has not ended. An answer that is not a stream has no readable part."""
    if not _is_stream(exchange):
        return Decoded()
    try:
        events = split_events(b"".join(exchange.body))
        if events.error is not None:
            return Failure("stream_error", _error_message(events.error))
        decoded = api.decode_stream(events.array) if events.size else Decoded()
        _require_numbers(decoded)
    except Malformed as error:
        return Failure("malformed", str(error))
    except RecursionError:
        return Failure("malformed", "JSON that is nested too deeply")
    decoded.finish_reason = finish_reason(decoded.finish_reason)
    return decoded if decoded.error is None else Failure("stream_error", decoded.error)


def _record(exchange: Exchange, seq: int, end_ns: int) -> RequestRecord:
    return RequestRecord(
        seq=seq,
        request_id=exchange.request_id,
        index=exchange.index,
        sample_index=exchange.sample,
        endpoint=exchange.endpoint,
        scheduled_ns=exchange.scheduled_ns,
        place_free_ns=None if exchange.due_ns == exchange.scheduled_ns else exchange.due_ns,
        send_start_ns=exchange.send_start_ns or exchange.started_ns,
        turnaround_ns=_turnaround_ns(exchange),
        connect_ns=exchange.connect_ns,
        request_sent_ns=exchange.sent_ns,
        first_byte_ns=exchange.reads[0] if exchange.reads else None,
        end_ns=end_ns,
        status=exchange.status,
        outcome="failed",
        request_bytes=len(exchange.request),
        response_bytes=exchange.response_bytes,
        resent=exchange.resent,
        polls=exchange.polls,
        retry_after_s=exchange.retry_after_s,
    )


def _turnaround_ns(exchange: Exchange) -> int | None:
    since_ns, sent_ns = exchange.vacant_since_ns, exchange.send_start_ns
    return None if since_ns is None or sent_ns is None else max(0, sent_ns - since_ns)


def _fail(record: RequestRecord, failure: Failure) -> None:
    record.error = failure.error
    record.error_detail = failure.detail[:_LONGEST_ERROR]


class _ReportedError(Exception):
    """An error that the framing of a stream reports: an event of type `error`, or a field of that name."""


class _Stream(msgspec.Struct, frozen=True, gc=False):
    """A stream that was read."""

    decoded: Decoded
    size: int
    """Number of events, without `[DONE]`."""
    done: bool
    """Whether `[DONE]` ended it."""
    ends: list[int] | None
    """Where each event ended in the body, `[DONE]` included; None if every event ends in two newlines and
    nothing else does."""
    one_event_per_piece: bool = False
    """Whether each piece of the body is one event."""


def _is_stream(exchange: Exchange) -> bool:
    """Whether the response is a stream of events. How it begins decides, then its content type."""
    begin = next(filter(None, map(bytes.lstrip, exchange.body)), b"")
    if begin.startswith(b"{"):
        return False
    return exchange.content_type.startswith("text/event-stream") or is_event_stream(b"".join(exchange.body))


def _read_stream(parts: list[bytes], api: Api) -> _Stream:
    """Decode a stream. Raises `Malformed`, and `_ReportedError` with the server's words."""
    fast = read_deltas(parts, api)
    if fast is not None:
        return _Stream(fast.decoded, fast.decoded.event_count, fast.done, None, fast.one_event_per_piece)
    events = split_events(b"".join(parts))
    if events.error is not None:
        raise _ReportedError(_error_message(events.error))
    try:
        decoded = api.decode_stream(events.array)
    except Malformed as error:
        raise Malformed(f"{_separation(events)}{error}") from error
    if decoded.error is None and decoded.finish_reason is None and not events.done and events.unseparated:
        raise Malformed(f"{_separation(events)}only {events.size} events could be read")
    return _Stream(decoded, events.size, events.done, events.ends)


def _separation(events: Events) -> str:
    """What to say first about a stream that cannot be read, if blank lines between its events are missing."""
    if not events.unseparated:
        return ""
    return (
        f"events lack the blank line that ends an event: {events.unseparated} `data:` lines begin another event "
        "without one; "
    )


def _error_message(error: bytes) -> str:
    """An error as the server put it."""
    try:
        return error_text(msgspec.json.decode(error)) if error else "an event of type error, without data"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return error.decode("utf-8", "replace")


def _require_numbers(decoded: Decoded) -> None:
    """Raise `Malformed` for a token count or a time that no answer can have: no later use of them may overflow."""
    usage = decoded.usage
    counts = list(decoded.content_event_tokens)
    if usage is not None:
        counts += [
            count
            for count in (
                usage.input_tokens,
                usage.output_tokens,
                usage.cached_tokens,
                usage.reasoning_tokens,
            )
            if count is not None
        ]
    if counts and not (min(counts) >= 0 and max(counts) <= MOST_TOKENS):
        raise Malformed(f"token counts from {min(counts)} to {max(counts)}: expected 0 to {MOST_TOKENS}")
    if decoded.server_time_s is not None and not 0 <= decoded.server_time_s <= _LONGEST_SERVER_TIME_S:
        raise Malformed(
            f"a server time of {decoded.server_time_s:g} s: expected 0 to {_LONGEST_SERVER_TIME_S:g}"
        )


def _bad_status(exchange: Exchange) -> Failure:
    status = exchange.status
    shown = f"{status}: {b''.join(exchange.body)[:_LONGEST_ERROR].decode('utf-8', 'replace')}"
    if status is None:
        return Failure("protocol", "a response without a status")
    if status == 429:
        return Failure("rate_limited", shown)
    if 300 <= status < 400:
        return Failure("redirect", shown)
    return Failure("server_error" if status >= 500 else "http_status", shown)


def _bad_content(
    decoded: Decoded, stream: _Stream | None, content_type: str, *, streaming: bool
) -> Failure | None:
    if decoded.error is not None:
        return Failure("stream_error", decoded.error)
    if gave_up(decoded.finish_reason):
        return Failure("stream_error", f"the server's finish reason is {decoded.finish_reason!r}")
    if stream is None:
        if streaming:
            return Failure(
                "malformed",
                f"asked for a stream, answered with {content_type or 'no content type'}",
            )
        return None
    if decoded.event_count != stream.size:
        return Failure("malformed", f"{stream.size} events hold {decoded.event_count} JSON values")
    if not stream.done and decoded.finish_reason is None:
        return Failure(
            "truncated_stream", f"ended after {stream.size} events without [DONE] or finish reason"
        )
    return None


def _describe(record: RequestRecord, decoded: Decoded) -> None:
    record.event_count = decoded.event_count
    record.content_event_count = len(decoded.content_events)
    record.content_event_tokens = tuple(decoded.content_event_tokens)
    record.finish_reason = decoded.finish_reason
    record.usage = decoded.usage
    record.server_time_s = decoded.server_time_s
    record.output_empty = not (
        decoded.content or decoded.reasoning or decoded.tool_calls or decoded.content_events
    )


def _stamp(
    record: RequestRecord, exchange: Exchange, reads: Reads, stream: _Stream, decoded: Decoded
) -> None:
    """Record when content arrived."""
    moments = reads.stream(
        exchange.body,
        decoded.content_events,
        first_output=decoded.first_output_event,
        events=stream.size + stream.done,
        ends=stream.ends,
        one_event_per_piece=stream.one_event_per_piece,
    )
    record.first_content_ns = moments.first.at_ns
    record.last_content_ns = moments.last.at_ns
    record.content_gaps_ns = moments.gaps_ns
    record.inner_uncertainty_ns = moments.inner_uncertainty_ns
    _set_moments(record, first_content=moments.first, last_content=moments.last)
    if moments.first_output is not None:
        record.first_output_ns = moments.first_output.at_ns
        _set_moments(record, first_output=moments.first_output)


def _set_moments(record: RequestRecord, **moments: Moment) -> None:
    """Record how much later the client saw each moment, and the uncertainty of its time."""
    if record.seen_after_ns is None:
        record.seen_after_ns = Moments()
    for name, moment in moments.items():
        setattr(record.seen_after_ns, name, moment.seen_after_ns)
        if moment.uncertainty_ns:
            if record.uncertainty_ns is None:
                record.uncertainty_ns = Moments()
            setattr(record.uncertainty_ns, name, moment.uncertainty_ns)


def _finished(end: Moment, exchange: Exchange) -> Moment:
    """When the output was finished: for a polled job, at any time since the last poll that found it unfinished."""
    if exchange.pending_ns is None:
        return end
    return end._replace(uncertainty_ns=end.at_ns - exchange.pending_ns)


def _text(record: RequestRecord, decoded: Decoded, texts: TextPolicy) -> TextRecord | None:
    if texts == "hash":
        joined = f"{decoded.content}\0{decoded.reasoning}\0{decoded.tool_calls}"
        record.text_sha256 = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
    # Texts are needed for counting even if they are not kept afterwards.
    return TextRecord(
        request_id=record.request_id,
        sample_index=record.sample_index,
        content=decoded.content,
        reasoning=decoded.reasoning,
        tool_calls=decoded.tool_calls,
        first_event_text=decoded.first_event_text,
        token_ids=decoded.token_ids,
    )
