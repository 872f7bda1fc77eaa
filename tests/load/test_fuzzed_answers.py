"""Whatever bytes a server sends, a request ends as a success or as a typed failure, in bounded memory."""

import contextlib
import tracemalloc
from itertools import pairwise

import msgspec
import pytest
from dialects import ALL, CHAT, STREAMED, TEXT, frame
from hypothesis import given, settings
from hypothesis import strategies as st
from test_odd_answers import decoded, plain, untimed

from pytest_bench.api import MOST_TOKENS, Malformed
from pytest_bench.load.framing import split_events
from pytest_bench.records import ERROR_TYPES

KEYS = st.sampled_from(
    [
        *("choices", "delta", "message", "content", "text", "usage", "error", "finish_reason", "tool_calls"),
        *(
            "function",
            "arguments",
            "reasoning",
            "refusal",
            "type",
            "thinking",
            "token_ids",
            "completion_tokens",
        ),
        *("prompt_tokens", "prompt_tokens_details", "meta_info", "output_ids", "status", "id", "video_path"),
        *("video_bytes", "inference_time_s", "timings", "error_code", "detail", "x"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(0, 20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "ab", "stop", "null", "abort", "text", "3"])
    | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
CHUNKS = (
    st.fixed_dictionaries(
        {},
        optional={
            "choices": st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "delta": st.dictionaries(KEYS, VALUES, max_size=3),
                        "message": st.dictionaries(KEYS, VALUES, max_size=3),
                        "text": VALUES,
                        "finish_reason": VALUES,
                        "token_ids": VALUES,
                    },
                ),
                max_size=2,
            ),
            "usage": st.dictionaries(KEYS, SCALARS, max_size=3),
            "text": VALUES,
            "output_ids": VALUES,
            "meta_info": st.dictionaries(KEYS, SCALARS, max_size=3),
            "error": VALUES,
        },
    )
    | VALUES
)
DIALECTS = st.sampled_from(ALL)

PARTS = st.sampled_from(
    [
        *(
            b"data: ",
            b"data:",
            b"data",
            b"event: error",
            b"event: ping",
            b"error: ",
            b"id: 1",
            b": x",
            b"retry: 1",
        ),
        *(
            b"\n",
            b"\n\n",
            b"\r\n",
            b"\r",
            b"\r\n\r\n",
            b"[DONE]",
            b"null",
            b"{}",
            b"{",
            b"}",
            b"\xef\xbb\xbf",
        ),
        *(b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"text":"a","finish_reason":"stop"}]}'),
        *(
            b'{"text":"a","meta_info":{"completion_tokens":1}}',
            b'{"error":"m"}',
            b'{"usage":{"completion_tokens":-1}}',
        ),
        *(b"\x00\x00\x00\x18ftypisom", b"\xff", b" "),
    ]
)
BODIES = st.lists(PARTS | st.binary(max_size=6), max_size=20).map(b"".join)


def pieces_of(data: st.DataObject, body: bytes) -> list[bytes]:
    """The body, cut anywhere."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(body) - 1)), max_size=6)))
    edges = [0, *(cut for cut in cuts if cut < len(body)), len(body)]
    return [body[start:end] for start, end in pairwise(edges) if start < end]


def check(settled, size: int) -> None:
    record = settled.record
    assert record.outcome in ("succeeded", "failed")
    assert (record.error in ERROR_TYPES) if record.outcome == "failed" else (record.error is None)
    assert (settled.text is None) == (record.outcome == "failed")
    assert record.content_event_count <= record.event_count <= size
    assert len(record.content_event_tokens) in (0, record.content_event_count)
    assert all(0 <= count <= MOST_TOKENS for count in record.content_event_tokens)
    if record.usage is not None:
        counts = [getattr(record.usage, name) for name in record.usage.__struct_fields__]
        assert all(count is None or 0 <= count <= MOST_TOKENS for count in counts)
    msgspec.json.encode(record)
    if settled.text is not None:
        assert len(msgspec.json.encode(settled.text)) <= 8 * size + 500


@settings(max_examples=400)
@given(
    st.data(),
    BODIES | st.binary(max_size=80),
    DIALECTS,
    st.booleans(),
    st.sampled_from(["", "text/event-stream"]),
)
def test_no_bytes_of_a_body_raise_anything_or_succeed_with_impossible_numbers(
    data, body, dialect, streaming, content_type
):
    pieces = pieces_of(data, body)
    settled = decoded(pieces, dialect.api, content_type=content_type, streaming=streaming)
    check(settled, len(body))
    whole = decoded([body] if body else [], dialect.api, content_type=content_type, streaming=streaming)
    assert untimed(settled) == untimed(whole)


@settings(max_examples=300)
@given(st.lists(CHUNKS, max_size=5), DIALECTS)
def test_no_json_of_a_server_raises_anything_but_malformed(chunks, dialect):
    read = (
        lambda: dialect.api.decode_stream(msgspec.json.encode(chunks)),
        lambda: dialect.api.decode_body(msgspec.json.encode(chunks[0] if chunks else {}), "application/json"),
    )
    for decode in read:
        with contextlib.suppress(Malformed):
            decode()
    body = b"".join(frame(msgspec.json.encode(chunk)) for chunk in chunks)
    check(decoded([body] if body else [], dialect.api), len(body))


@settings(max_examples=200)
@given(st.data(), st.sampled_from(STREAMED), st.lists(CHUNKS, min_size=1, max_size=3))
def test_odd_chunks_within_alike_ones_are_read_as_the_line_by_line_way_reads_them(data, dialect, odd):
    pieces = [*dialect.answer(), frame(b"[DONE]")]
    for chunk in odd:
        pieces.insert(data.draw(st.integers(0, len(pieces))), frame(msgspec.json.encode(chunk)))
    for cut in (pieces, [b"".join(pieces)]):
        assert decoded(cut, dialect.api) == decoded(cut, plain(dialect.api))


@given(BODIES)
def test_a_stream_that_begins_with_a_comment_is_split_like_one_without(body):
    events = split_events(body)
    again = split_events(b": x\n" + body.removeprefix(b"\xef\xbb\xbf"))
    assert (events.array, events.size, events.done, events.error) == (
        again.array,
        again.size,
        again.done,
        again.error,
    )


@pytest.mark.parametrize("opening", [b"[", b'{"error":', b'{"message":', b'{"x":'])
@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_an_error_may_be_nested_to_any_depth(dialect, opening):
    closing = b"]" if opening == b"[" else b"}"
    for depth in range(1, 1100, 3):
        error = opening * depth + b"1" + closing * depth
        for body in (b'data: {"error":' + error + b"}\n\n", b"error: " + error + b"\n\n"):
            assert decoded([body], dialect.api).record.outcome == "failed"
        decoded([b'{"error":' + error + b"}"], dialect.api, content_type="", streaming=False)


@pytest.mark.parametrize(
    ("before", "opening", "closing", "after"),
    [
        (b'{"tool_calls":[{"function":{"arguments":', b"[", b"]", b"}}]}"),
        (b'{"content":[', b'{"type":"thinking","thinking":[', b"]}", b"]}"),
    ],
)
def test_a_chat_message_may_be_nested_to_any_depth(before, opening, closing, after):
    for depth in range(1, 1100, 3):
        message = before + opening * depth + closing * depth + after
        for read in (
            lambda m=message: CHAT.api.decode_stream(b'[{"choices":[{"delta":' + m + b"}]}]"),
            lambda m=message: CHAT.api.decode_body(b'{"choices":[{"message":' + m + b"}]}", ""),
        ):
            with contextlib.suppress(Malformed):
                read()


MEBIBYTE = 1 << 20
ATTACKS = {
    "carriage returns": b"\r" * MEBIBYTE,
    "newlines": b"data: {}" + b"\n" * MEBIBYTE,
    "events that end in carriage returns": b"data: x\r\r" * (MEBIBYTE // 9),
    "comments": b":\n" * (MEBIBYTE // 2),
    "data lines without an end": b"data:\n" * (MEBIBYTE // 6),
    "one long line": b"data: " + b"x" * MEBIBYTE,
    "one long line and an end": b"data: " + b"x" * MEBIBYTE + b"\n\n",
    "empty objects": b"data: {}\n\n" * (MEBIBYTE // 10),
    "keep-alives": b"data: null\n\n" * (MEBIBYTE // 12),
    "choices": b'data: {"choices":[' + b"{}," * (MEBIBYTE // 3) + b"{}]}\n\n",
    "deep lists": b'data: {"error":' + b"[" * MEBIBYTE + b"\n\n",
    "token ids": b'data: {"choices":[{"token_ids":[' + b"1," * (MEBIBYTE // 2) + b"1]}]}\n\n",
    "parts": b'data: {"choices":[{"delta":{"content":[' + b'"",' * (MEBIBYTE // 3) + b'""]}}]}\n\n',
    "a long number": b'data: {"usage":{"completion_tokens":' + b"9" * MEBIBYTE + b"}}\n\n",
    "a long number as text": b'data: {"usage":{"completion_tokens":"' + b"9" * MEBIBYTE + b'"}}\n\n',
    "an error": b"error: " + b"x" * MEBIBYTE + b"\n\n",
    "escapes": b'data: {"error":"' + b"\\u0000" * (MEBIBYTE // 6) + b'"}\n\n',
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_memory_grows_with_the_bytes_of_a_response_and_not_with_what_they_say(attack, dialect):
    body = ATTACKS[attack]
    tracemalloc.start()
    try:
        settled = decoded([body], dialect.api, streaming=dialect in STREAMED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert settled.record.outcome == "failed"
    assert len(settled.record.error_detail) <= 4096
    assert peak < 32 * len(body)


def test_a_stream_of_more_lines_than_any_answer_has_is_malformed():
    settled = decoded([b":\n" * 2_000_001], CHAT.api)
    assert (settled.record.error, settled.record.error_detail) == (
        "malformed",
        "a stream of more than 2,000,000 lines",
    )


@pytest.mark.parametrize("seconds", [-1.0, 1e300, float("inf"), float("nan")])
def test_a_server_time_of_a_third_party_s_decoder_is_checked_too(seconds):
    class Careless(CHAT.api):
        @staticmethod
        def decode_stream(events):
            read = CHAT.api.decode_stream(events)
            read.server_time_s = seconds
            return read

    assert decoded([*CHAT.answer()], plain(Careless)).record.error == "malformed"


@pytest.mark.parametrize("count", [400_000_000, 1 << 62, 1 << 63, -5])
def test_a_token_count_of_a_third_party_s_decoder_is_checked_too(count):
    class Careless(CHAT.api):
        @staticmethod
        def decode_stream(events):
            read = CHAT.api.decode_stream(events)
            read.content_event_tokens = [1] * 13 + [count]
            return read

    settled = decoded([*CHAT.answer()], plain(Careless))
    assert settled.record.error == "malformed"
    assert decoded([*CHAT.answer()], CHAT.api).text.content == TEXT
