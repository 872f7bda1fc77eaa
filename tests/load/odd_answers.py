"""The table of odd answers: what a server writes, and the outcome that the request must have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dialects import (
    ALL,
    CHAT,
    DONE,
    GENERATE,
    OPENAI,
    STREAMED,
    TEXT,
    VIDEO,
    WORDS,
    Dialect,
    frame,
    to_json,
)

SSE = "text/event-stream"
JSON = "application/json"
END = frame(DONE)


@dataclass(frozen=True)
class Case:
    """One kind of answer, as each of `dialects` writes it."""

    name: str
    frames: Callable[[Dialect], Sequence[bytes]]
    """The body, in the pieces in which a server would write it."""
    error: str | None = None
    """Type of the failure; None if the request succeeds."""
    detail: str = ""
    """What the failure must say."""
    dialects: Sequence[Dialect] = STREAMED
    content_type: str = SSE
    streaming: bool = True
    wire: bool = False
    """Whether it is sent over loopback, too."""
    expected: dict[str, Any] = field(default_factory=dict)
    """Values of the record and of its text, by name."""


def objects(*values: object) -> list[bytes]:
    return [frame(to_json(value)) for value in values]


def stream(*middle: bytes, done: bool = True) -> Callable[[Dialect], list[bytes]]:
    """An ordinary answer with these frames after every second of its first eight events."""

    def frames(dialect: Dialect) -> list[bytes]:
        answer = dialect.answer()
        for place in (8, 6, 4, 2, 0):
            answer[place:place] = middle
        return [*answer, END] if done else answer

    return frames


def instead_of_the_end(*last: bytes, done: bool = True) -> Callable[[Dialect], list[bytes]]:
    """All words of an answer, then these frames in place of its finish reason."""
    return lambda dialect: [*objects(*dialect.chunks()), *last, *([END] if done else [])]


def alone(*frames: bytes) -> Callable[[Dialect], list[bytes]]:
    return lambda dialect: [*frames, END]


def each_chunk(**more: Any) -> Callable[[Dialect], list[bytes]]:
    """An ordinary answer whose events have these fields, too."""
    return lambda dialect: [*objects(*dialect.chunks(**more), dialect.end(**more)), END]


def reframed(old: bytes, new: bytes) -> Callable[[Dialect], list[bytes]]:
    return lambda dialect: [piece.replace(old, new) for piece in [*dialect.answer(), END]]


def finished(reason: object, *, done: bool) -> Callable[[Dialect], list[bytes]]:
    """An answer with this finish reason in every event."""
    return lambda dialect: [
        *objects(*dialect.chunks(finish=reason), dialect.end(reason)),
        *([END] if done else []),
    ]


def with_usage(tokens: object) -> Callable[[Dialect], list[bytes]]:
    return lambda dialect: [*dialect.answer(), *objects(dialect.usage(tokens)), END]


def running(
    totals: Sequence[object], final: object, words: Sequence[str] = WORDS
) -> Callable[[Dialect], list[bytes]]:
    """A usage in every event, and one of the whole answer."""

    def frames(dialect: Dialect) -> list[bytes]:
        chunks = [
            dialect.chunk(word, before="".join(words[:number]), total=total)
            for number, (word, total) in enumerate(zip(words, totals, strict=True))
        ]
        last = dialect.chunk("", before="".join(words), total=totals[-1], finish="stop")
        return [*objects(*chunks, last, dialect.usage(final)), END]

    return frames


def delta(*deltas: dict[str, Any], finish: str = "stop") -> Callable[[Dialect], list[bytes]]:
    """A chat answer of these deltas."""
    return lambda dialect: [
        *objects(
            *({"choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        ),
        END,
    ]


def calls(arguments: object) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": arguments}}]}


def generated(
    *events: tuple[str, int | None], ids: Sequence[list[int]] = ()
) -> Callable[[Dialect], list[bytes]]:
    """A stream of `/generate` with these texts and totals."""

    def frames(dialect: Dialect) -> list[bytes]:
        chunks = [dialect.chunk(text, total=total) for text, total in events]
        for chunk, part in zip(chunks, ids, strict=False):
            chunk["output_ids"] = part
        chunks[-1]["meta_info"]["finish_reason"] = {"type": "stop"}
        return [*objects(*chunks), END]

    return frames


GOOD = {"content": TEXT, "finish_reason": "stop", "content_event_count": 14, "first_event_text": " w0"}
FIELD = b'error: {"code":500,"message":"out of memory"}\n\n'
EVENT = b'event: error\ndata: {"detail":"out of memory"}\n\n'
SAID = "out of memory"

ERRORS = [
    Case("a field error alone", alone(FIELD), "stream_error", "500: out of memory", wire=True),
    Case("a field error after text", instead_of_the_end(FIELD), "stream_error", "500: out of memory"),
    Case("a field error without [DONE]", instead_of_the_end(FIELD, done=False), "stream_error", SAID),
    Case("a field error without a blank line", alone(FIELD[:-1]), "stream_error", SAID),
    Case("a field error after the finish reason", lambda d: [*d.answer(), FIELD, END], "stream_error", SAID),
    Case("a field error that is text", alone(b"error: out of memory\n\n"), "stream_error", SAID),
    Case("an event error", alone(EVENT), "stream_error", SAID, wire=True),
    Case("an event Error", alone(EVENT.replace(b"event: error", b"event: Error")), "stream_error", SAID),
    Case("an event error after text", instead_of_the_end(EVENT), "stream_error", SAID),
    Case("an event error in the middle", stream(EVENT), "stream_error", SAID),
    Case(
        "an event error whose data come first",
        alone(b"data: out of memory\nevent: error\n\n"),
        "stream_error",
        SAID,
    ),
    Case("an event error with CRLF", alone(EVENT.replace(b"\n", b"\r\n")), "stream_error", SAID),
    Case("an event error without data", alone(b"event: error\n\n"), "stream_error", "without data"),
    Case("an event error with empty data", alone(b"event: error\ndata:\n\n"), "stream_error", "without data"),
    Case(
        "an event error that is no JSON",
        alone(b"event: error\ndata: {out of memory\n\n"),
        "stream_error",
        SAID,
    ),
    *(
        Case(f"the object {value!r} {place}", frames, "stream_error", SAID)
        for value in (
            {"error": {"message": SAID, "code": 500}},
            {"error": {"message": {"why": SAID}}},
            {"error": SAID},
            {"error": [SAID]},
            {"error": {"error": {"message": SAID}}},
            {"object": "error", "message": SAID, "code": 500},
            {"message": SAID},
            {"detail": SAID},
            {"detail": [{"msg": SAID}]},
            {"text": SAID, "error_code": 1},
            {"error_code": "50001", "message": SAID},
        )
        for place, frames in (
            ("alone", alone(*objects(value))),
            ("after text", instead_of_the_end(*objects(value))),
            ("within text", stream(*objects(value))),
        )
    ),
    Case("an empty error object", alone(*objects({"error": {}})), "stream_error", "{}"),
    Case(
        "an error beside the answer",
        lambda d: [*objects(*d.chunks(), {**d.end(), "error": {"message": SAID}}), END],
        "stream_error",
        SAID,
    ),
    Case(
        "an error whose name is escaped",
        alone(b'data: {"\\u0065rror":"out of memory"}\n\n'),
        "stream_error",
        SAID,
    ),
    *(
        Case(f"the field error {value!r} in every event", each_chunk(error=value), expected=GOOD)
        for value in (None, "", False, 0)
    ),
    Case("the field error_code 0 in every event", each_chunk(error_code=0), expected=GOOD),
    Case("an event error after [DONE]", lambda d: [*d.answer(), END, EVENT], expected=GOOD),
    *(
        Case(
            f"the finish reason {reason}",
            finished(reason, done=True),
            "stream_error",
            reason,
            wire=reason == "abort",
        )
        for reason in ("abort", "error", "ABORT")
    ),
]

FOREIGN = [
    Case("foreign JSON alone", alone(*objects({"foo": 1})), "malformed", '{"foo":1}', wire=True),
    Case("an empty object alone", alone(*objects({})), "malformed", "{}"),
    Case("foreign JSON after text", instead_of_the_end(*objects({"foo": 1})), "malformed", '{"foo":1}'),
    Case("foreign JSON in an answer with a finish reason", stream(*objects({"foo": 1})), expected=GOOD),
    Case("an empty object in an answer with a finish reason", stream(*objects({})), expected=GOOD),
    *(
        Case(f"the JSON value {value!r}", stream(*objects(value)), "malformed")
        for value in (5, "text", [], True, [{}])
    ),
    Case("an event that is no JSON", stream(frame(b"{")), "malformed", wire=True),
    Case("two objects in one event", stream(frame(b'{"a":1} {"b":2}')), "malformed"),
    Case("two objects with a comma in one event", stream(frame(b'{"a":1},{"b":2}')), "malformed"),
    Case("bytes that are not UTF-8", stream(frame(b'{"error":"\xff"}')), "malformed"),
    Case("JSON that is too deep", stream(frame(b'{"error":' + b"[" * 5000)), "malformed"),
    Case("another API's stream", lambda d: [*objects({"delta": "a"}, {"end": 1}), END], "malformed"),
]

FINISH = [
    *(
        Case(
            f"the finish reason {reason!r} and no [DONE]",
            finished(reason, done=False),
            "truncated_stream",
            "without [DONE] or finish reason",
            wire=reason == "",
        )
        for reason in (None, "", " ", "null", "None")
    ),
    *(
        Case(
            f"the finish reason {reason!r} and [DONE]",
            finished(reason, done=True),
            expected=GOOD | {"finish_reason": None},
        )
        for reason in (None, "", "null")
    ),
    Case(
        "the finish reason stop after error",
        lambda d: [*d.answer()[:-1], *objects(d.end("error")), *objects(d.end("stop")), END],
        "stream_error",
        "the server's finish reason is 'error'",
    ),
    Case(
        "an empty finish reason after the real one",
        lambda d: [*d.answer(), *objects(d.end("")), END],
        expected=GOOD,
    ),
    Case("the finish reason and no [DONE]", lambda d: d.answer(), expected=GOOD, wire=True),
    *(
        Case(f"the finish reason {reason!r}", finished(reason, done=True), "malformed")
        for reason in (5, True, ["stop"])
    ),
    Case("a finish reason that is an object", finished({"a": 1}, done=True), "malformed", dialects=OPENAI),
    Case("neither text nor end", lambda d: [], "truncated_stream", "after 0 events"),
    Case("[DONE] alone", alone(), expected={"output_empty": True, "content": ""}),
    Case(
        "an answer without content",
        lambda d: [*objects(d.chunk(""), d.chunk("", finish="stop")), END],
        expected={"output_empty": True, "content": "", "content_event_count": 0, "finish_reason": "stop"},
        wire=True,
    ),
    Case("events after [DONE]", lambda d: [*d.answer(), END, *d.answer()], expected=GOOD),
]

KEEP_ALIVES = [
    *(
        Case(f"the keep-alive {piece!r}", stream(piece), expected=GOOD, wire=piece == b"data: null\n\n")
        for piece in (
            b"data:\n\n",
            b"data: \n\n",
            b"data:   \n\n",
            b"data: null\n\n",
            b"data\n\n",
            b": ping\n\n",
            b":\n\n",
            b"event: ping\ndata: null\n\n",
            b"event: ping\n\n",
            b"\n",
            b"\n\n\n",
            b"retry: 100\n\n",
            b"id: 7\ndata:\n\n",
        )
    ),
    Case(
        "a keep-alive with data",
        stream(b'event: ping\ndata: {"type":"ping"}\n\n'),
        expected=GOOD,
    ),
]

EMPTY_FIELDS = [
    *(
        Case(f"a chunk with {value!r}", stream(*objects(value)), expected=GOOD, dialects=OPENAI)
        for value in (
            {"choices": None, "usage": {"prompt_tokens": 5}},
            {"choices": None},
            {"choices": []},
            {"choices": [None]},
            {"choices": [{}]},
            {"choices": [], "usage": None},
            {"choices": [{"index": 0, "delta": None, "text": None, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "text": ""}]},
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {"choices": [{"index": 0, "delta": {"content": None, "tool_calls": None}}]},
            {"choices": [{"index": 0, "delta": {"content": [], "tool_calls": []}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [None]}}]},
            {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": None}]}}]},
            {"choices": [{"index": 0, "token_ids": None, "logprobs": None}]},
        )
    ),
    *(
        Case(f"a chunk with {value!r}", stream(*objects(value)), expected=GOOD, dialects=[GENERATE])
        for value in (
            {"text": ""},
            {"text": None, "meta_info": None},
            {"text": "", "meta_info": {}},
            {"text": "", "output_ids": None},
            {"text": "", "output_ids": [], "meta_info": {"finish_reason": ""}},
        )
    ),
]

_BAD_COUNTS = (
    400_000_000,
    1 << 24 | 1,
    1 << 62,
    1 << 63,
    1 << 64,
    -1,
    -5,
    1.5,
    "x",
    "",
    "-3",
    "3.5",
    True,
    [],
    {},
)

USAGE = [
    *(
        Case(f"usage of {tokens!r} tokens", with_usage(tokens), expected=GOOD | {"output_tokens": 14})
        for tokens in (14, 14.0, "14")
    ),
    Case("no usage", lambda d: [*d.answer(), END], expected=GOOD | {"output_tokens": None}, dialects=OPENAI),
    Case("usage of null", with_usage(None), expected=GOOD | {"output_tokens": None}, dialects=OPENAI),
    Case("the most tokens", with_usage(1 << 24), expected=GOOD | {"output_tokens": 1 << 24}),
    *(
        Case(f"usage of {tokens!r} tokens", with_usage(tokens), "malformed", wire=tokens == 400_000_000)
        for tokens in _BAD_COUNTS
    ),
    *(
        Case(
            f"the usage {value!r}",
            stream(*objects({"choices": [], "usage": value})),
            "malformed",
            dialects=OPENAI,
        )
        for value in (5, "x", [], True)
    ),
    *(
        Case(
            f"the usage {value!r} after the real one",
            lambda d, value=value: [*d.answer(), *objects(d.usage(14), {"choices": [], "usage": value}), END],
            expected=GOOD | {"output_tokens": 14},
            dialects=OPENAI,
        )
        for value in (None, {}, {"prompt_tokens": None, "completion_tokens": None}, {"total_tokens": 19})
    ),
    Case(
        "running totals",
        running(range(1, 15), 14),
        expected=GOOD | {"content_event_tokens": (1,) * 14, "output_tokens": 14},
    ),
    Case(
        "running totals as text",
        running([str(number) for number in range(1, 15)], "14"),
        expected=GOOD | {"content_event_tokens": (1,) * 14, "output_tokens": 14},
    ),
    Case(
        "running totals of several tokens an event",
        running(range(3, 45, 3), 42),
        expected=GOOD | {"content_event_tokens": (3,) * 14},
    ),
    Case(
        "running totals and an end-of-sequence token",
        lambda d: [
            *objects(
                *(d.chunk(word, before="".join(WORDS[:n]), total=n + 1) for n, word in enumerate(WORDS))
            ),
            *objects(d.chunk("", before=TEXT, total=15, finish="stop"), d.usage(15)),
            END,
        ],
        expected=GOOD | {"content_event_tokens": (1,) * 14, "output_tokens": 15},
    ),
    *(
        Case(
            f"totals that do not run up to the usage: {name}",
            running(totals, final),
            expected=GOOD | {"content_event_tokens": ()},
            dialects=OPENAI,
        )
        for name, totals, final in (
            ("1, 2, 2, 2", [1, *[2] * 13], 9),
            ("one each", [1] * 14, 14),
            ("one is missing", [*range(1, 7), None, *range(8, 15)], 14),
            ("one is lower", [*range(1, 7), 2, *range(8, 15)], 14),
            ("one is negative", [*range(1, 7), -2, *range(8, 15)], 14),
            ("one is huge", [*range(1, 7), 1 << 62, *range(8, 15)], 14),
        )
    ),
    Case("a total that is not a number", running([*["x"] * 14], 14), "malformed", "'x'", dialects=OPENAI),
    Case(
        "hidden tokens at the end",
        lambda d: [
            *objects(
                *(d.chunk(word, before="".join(WORDS[:n]), total=n + 1) for n, word in enumerate(WORDS))
            ),
            *objects(d.chunk("", before=TEXT, total=30, finish="length"), d.usage(30)),
            END,
        ],
        expected={"content": TEXT, "content_event_tokens": (), "output_tokens": 30},
    ),
    Case(
        "two events of one and of 400,000,000 tokens",
        lambda d: [
            *objects(d.chunk("a", total=1), d.chunk("b", before="a", total=400_000_000, finish="stop")),
            END,
        ],
        "malformed",
        "400000000",
    ),
]

CONTENT = [
    *(
        Case(f"the content {value!r}", delta(*[{"content": value}] * 14), "malformed", dialects=[CHAT])
        for value in (5, 1.5, True, {}, {"type": "text", "text": "a"}, [5], [[]], [{"type": 5}])
    ),
    *(
        Case(
            f"the text {value!r}",
            lambda d, value=value: [*objects(d.chunk("a"), {"choices": [{"text": value}]}), END],
            "malformed",
            dialects=OPENAI[1:],
        )
        for value in (5, True, [], {}, ["a"])
    ),
    *(
        Case(
            f"the text {value!r}",
            lambda d, value=value: [*objects(d.chunk("a"), {"text": value}), END],
            "malformed",
            dialects=[GENERATE],
        )
        for value in (5, True, [], {}, ["a"])
    ),
    Case(
        "content as a list of parts",
        delta(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
            {"content": [{"type": "thinking", "thinking": "mm"}, {"type": "text", "text": "ye"}]},
            {"content": [{"type": "text", "text": "s"}, None, "!"]},
        ),
        expected={
            "content": "yes!",
            "reasoning": "hmmm",
            "content_event_count": 3,
            "first_event_text": "hm",
        },
        dialects=[CHAT],
        wire=True,
    ),
    Case(
        "reasoning as a list of parts",
        delta({"reasoning": [{"type": "text", "text": "hm"}]}, {"content": "yes"}),
        expected={"content": "yes", "reasoning": "hm", "content_event_count": 2},
        dialects=[CHAT],
    ),
    Case(
        "a part that is not text",
        delta({"content": [{"type": "image_url", "image_url": {}}]}),
        "malformed",
        "'image_url'",
        dialects=[CHAT],
    ),
    Case(
        "a refusal",
        delta({"refusal": "no"}),
        expected={"content": "no", "output_empty": False},
        dialects=[CHAT],
    ),
    *(
        Case(
            f"the arguments {value!r}",
            delta(calls(value)),
            expected={"tool_calls": f"f{text}", "content_event_count": 1, "output_empty": False},
            dialects=[CHAT],
            wire=isinstance(value, dict),
        )
        for value, text in (
            ('{"a":1}', '{"a":1}'),
            ({"a": 1}, '{"a":1}'),
            ({}, "{}"),
            ([1], "[1]"),
            (5, "5"),
            (True, "true"),
            (None, ""),
            ("", ""),
        )
    ),
    Case(
        "arguments in pieces",
        delta(
            calls('{"a"'),
            {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
            finish="tool_calls",
        ),
        expected={"tool_calls": 'f{"a":1}', "content_event_count": 2, "finish_reason": "tool_calls"},
        dialects=[CHAT],
    ),
    Case(
        "a function call",
        delta({"function_call": {"name": "f", "arguments": "{}"}}),
        expected={"tool_calls": "f{}", "content_event_count": 1},
        dialects=[CHAT],
    ),
    *(
        Case(f"the tool calls {value!r}", delta({"tool_calls": value}), "malformed", dialects=[CHAT])
        for value in (5, "x", {}, [5], [{"function": 5}], [{"function": {"name": 5}}])
    ),
]

HALVES = [
    Case(
        "halves of a surrogate pair in two events",
        lambda d: [
            *(piece.replace(b" w6", b"\\ud83d").replace(b" w7", b"\\uDE00") for piece in d.answer()),
            END,
        ],
        expected={
            "content": TEXT.replace(" w6", "\ufffd").replace(" w7", "\ufffd"),
            "content_event_count": 14,
        },
        dialects=OPENAI,
    ),
    Case(
        "a text so far that ends within a character",
        generated(("a", 1), ("a\ufffd", 2), ("a\ufffd", 3), ("a\u00e9", 4), ("a\u00e9b", 5)),
        expected={"content": "a\u00e9b", "content_event_count": 3},
        dialects=[GENERATE],
    ),
    Case(
        "a surrogate pair, and an escaped backslash before what looks like half of one",
        lambda d: [
            *(
                piece.replace(b" w6", b"\\ud83d\\ude00")
                .replace(b" w7", b"\\\\ud83d")
                .replace(b" w8", b"\\udc00")
                for piece in d.answer()
            ),
            END,
        ],
        expected={
            "content": TEXT.replace(" w6", "\U0001f600").replace(" w7", "\\ud83d").replace(" w8", "\ufffd"),
            "content_event_count": 14,
        },
    ),
]

FRAMING = [
    Case("CRLF", reframed(b"\n", b"\r\n"), expected=GOOD, wire=True),
    Case("CR", reframed(b"\n", b"\r"), expected=GOOD),
    Case("no space after the colon", reframed(b"data: ", b"data:"), expected=GOOD),
    Case("several blank lines", reframed(b"\n\n", b"\n\n\n\n"), expected=GOOD),
    Case("data on two lines", reframed(b"data: {", b"data: {\ndata: "), expected=GOOD),
    Case("a byte-order mark", lambda d: [b"\xef\xbb\xbf", *d.answer(), END], expected=GOOD),
    Case("named events", reframed(b"data: ", b"event: message\ndata: "), expected=GOOD),
    Case("[DONE] without a space", lambda d: [*d.answer(), b"data:[DONE]\n\n"], expected=GOOD),
    Case("[DONE] with a space behind", lambda d: [*d.answer(), b"data: [DONE] \n\n"], expected=GOOD),
    Case("[DONE] without its blank line", lambda d: [*d.answer(), b"data: [DONE]\n"], expected=GOOD),
    Case("single newlines", reframed(b"\n\n", b"\n"), "malformed", "lack the blank line", wire=True),
    Case(
        "single newlines and a blank line at the end",
        lambda d: [piece.replace(b"\n\n", b"\n") for piece in [*d.answer(), END]] + [b"\n"],
        "malformed",
        "lack the blank line",
    ),
    Case("no newlines", reframed(b"\n", b""), "truncated_stream", "after 0 events"),
    Case("all in one write", lambda d: [b"".join([*d.answer(), END])], expected=GOOD, wire=True),
    *(
        Case(
            f"a stream with the content type {kind!r}",
            lambda d: [*d.answer(), END],
            expected=GOOD,
            content_type=kind,
            wire=kind == "",
        )
        for kind in ("", "text/plain", "application/json", "text/event-stream; charset=utf-8", "text/html")
    ),
    Case(
        "a stream without content type that begins with a comment",
        lambda d: [b": hello\n\n", *d.answer(), END],
        expected=GOOD,
        content_type="",
    ),
    *(
        Case(
            f"a whole answer with the content type {kind!r} to a request for a stream",
            lambda d: [to_json(d.body("a"))],
            "malformed",
            "asked for a stream",
            content_type=kind,
        )
        for kind in (JSON, SSE, "")
    ),
    *(
        Case(
            f"an error object with the content type {kind!r} to a request for a stream",
            lambda d: [to_json({"error": {"message": SAID}})],
            "stream_error",
            SAID,
            content_type=kind,
        )
        for kind in (JSON, SSE, "")
    ),
]

TEXT_SO_FAR = [
    Case(
        "new text that repeats while tokens are generated",
        generated(*[("!", number) for number in range(1, 10)]),
        expected={"content": "!" * 9, "content_event_count": 9, "content_event_tokens": (1,) * 9},
        dialects=[GENERATE],
        wire=True,
    ),
    Case(
        "new text that repeats, of several tokens an event",
        generated(("!", 1), ("!!", 3), ("!", 4), ("!!!!", 8)),
        expected={"content": "!" * 8, "content_event_tokens": (1, 2, 1, 4)},
        dialects=[GENERATE],
    ),
    Case(
        "new text that gets longer as its events hold more tokens",
        generated(("ab", 1), ("abab", 3), ("ababab", 6)),
        expected={"content": "ab" * 6, "content_event_tokens": (1, 2, 3)},
        dialects=[GENERATE],
    ),
    Case(
        "the text so far of one repeated word",
        generated(("!", 1), ("!!", 2), ("!!!", 3)),
        expected={"content": "!!!", "content_event_tokens": (1, 1, 1)},
        dialects=[GENERATE],
    ),
    Case(
        "the text so far, whose last event takes back a stop text",
        generated(*[(TEXT[: 3 * n], n) for n in range(1, 14)], (TEXT[:33], 14)),
        expected={"content": TEXT[:33], "content_event_count": 13, "output_tokens": 14},
        dialects=[GENERATE],
        wire=True,
    ),
    Case(
        "the text so far, with tokens that it does not show",
        generated(("a", 1), ("a", 2), ("ab", 3), ("ab", 4), ("ab", 5), ("abc", 6)),
        expected={"content": "abc", "content_event_count": 3, "content_event_tokens": (1, 2, 3)},
        dialects=[GENERATE],
    ),
    Case(
        "the text so far, repeated without new tokens",
        generated(("a", 1), ("a", 1), ("a", 1)),
        expected={"content": "a", "content_event_count": 1, "content_event_tokens": (1,)},
        dialects=[GENERATE],
    ),
    Case(
        "the text so far, corrected in the middle",
        generated(("The", 1), ("The cat", 2), ("The hat", 3), ("The hat is", 4), ("The hat is", 4)),
        "malformed",
        "neither the text so far nor only what is new",
        dialects=[GENERATE],
    ),
    Case(
        "new text only",
        generated(("The", 1), (" cat", 2), (" sat", 3), ("", 4)),
        expected={"content": "The cat sat", "content_event_tokens": (1, 1, 1)},
        dialects=[GENERATE],
    ),
    Case(
        "texts that are neither the text so far nor new text",
        generated(
            ("The", 1), ("The cat", 2), ("The cat sat", 3), ("A cat sat on", 4), ("A cat sat on it", 5)
        ),
        "malformed",
        "neither the text so far nor only what is new",
        dialects=[GENERATE],
    ),
    Case(
        "ids of tokens without text",
        lambda d: [
            *objects(
                *({"output_ids": [7] * n, "meta_info": {"completion_tokens": n}} for n in range(1, 4)),
                {
                    "output_ids": [7] * 3,
                    "meta_info": {"completion_tokens": 3, "finish_reason": {"type": "length"}},
                },
            ),
            END,
        ],
        expected={"content": "", "output_empty": False, "content_event_count": 3, "token_ids": [7, 7, 7]},
        dialects=[GENERATE],
    ),
]

STREAMS = [
    *ERRORS,
    *FOREIGN,
    *FINISH,
    *KEEP_ALIVES,
    *EMPTY_FIELDS,
    *USAGE,
    *CONTENT,
    *HALVES,
    *FRAMING,
    *TEXT_SO_FAR,
]


def whole(name: str, body: Callable[[Dialect], bytes], *outcome: str, **more: Any) -> Case:
    """An answer that is not streamed."""
    more = {"dialects": ALL, "content_type": JSON} | more
    return Case(name, lambda dialect: [body(dialect)], *outcome, streaming=False, **more)


def message(**fields: Any) -> Callable[[Dialect], bytes]:
    return lambda d: to_json({"choices": [{"message": fields, "finish_reason": "stop"}]})


FINE = {"content": TEXT, "output_empty": False}

BODIES = [
    whole("an answer", lambda d: to_json(d.body(TEXT)), expected=FINE, wire=True),
    *(
        whole(
            f"an answer with the content type {kind!r}",
            lambda d: to_json(d.body(TEXT)),
            expected=FINE,
            content_type=kind,
        )
        for kind in ("", "text/plain", SSE)
    ),
    whole("an answer between blank lines", lambda d: b"\n" + to_json(d.body(TEXT)) + b"\n\n", expected=FINE),
    *(
        whole(
            f"the error {value!r}",
            lambda d, value=value: to_json(value),
            "stream_error",
            SAID,
            wire="detail" in value,
        )
        for value in (
            {"error": {"message": SAID, "code": 500}},
            {"error": SAID},
            {"object": "error", "message": SAID},
            {"detail": SAID},
            {"message": SAID},
            {"error_code": 1, "message": SAID},
            {"id": "x", "status": "failed", "error": {"message": SAID}},
        )
    ),
    whole("an error beside the answer", lambda d: to_json(d.body(TEXT, error=SAID)), "stream_error", SAID),
    *(
        whole(
            f"the field error {value!r}",
            lambda d, value=value: to_json(d.body(TEXT, error=value)),
            expected=FINE,
        )
        for value in (None, "", False, 0)
    ),
    *(
        whole(f"the body {body!r}", lambda d, body=body: body, "malformed")
        for body in (
            b"",
            b" ",
            b"{}",
            b"[]",
            b"null",
            b"5",
            b'"text"',
            b'{"foo":1}',
            b"<html>",
            b"{",
            b"{}{}",
            b"\xff",
        )
    ),
    whole("the body of another API", lambda d: to_json({"output": "a"}), "malformed", wire=True),
    whole(
        "half of a surrogate pair",
        lambda d: to_json(d.body("half")).replace(b"half", b"a\\ud83d"),
        expected={"content": "a\ufffd"},
    ),
    whole("an answer that is cut", lambda d: to_json(d.body(TEXT))[:-1], "malformed"),
    whole(
        "an answer without content",
        lambda d: to_json(d.body("")),
        expected={"content": "", "output_empty": True},
        wire=True,
    ),
    whole(
        "content of null",
        lambda d: to_json(d.body(None)),
        expected={"content": "", "output_empty": True},
        dialects=OPENAI,
    ),
    *(
        whole(f"the content {value!r}", lambda d, value=value: to_json(d.body(value)), "malformed")
        for value in (5, True, {}, [5])
    ),
    whole("content that is a list of numbers", lambda d: to_json(d.body([5])), "malformed"),
    whole(
        "content as a list of parts",
        lambda d: to_json(d.body([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}])),
        expected={"content": "yes", "reasoning": "hm"},
        dialects=[CHAT],
    ),
    whole("a refusal", message(content=None, refusal="no"), expected={"content": "no"}, dialects=[CHAT]),
    *(
        whole(
            f"the arguments {value!r}",
            message(content=None, **calls(value)),
            expected={"tool_calls": f"f{text}", "output_empty": False},
            dialects=[CHAT],
        )
        for value, text in (('{"a":1}', '{"a":1}'), ({"a": 1}, '{"a":1}'), ([1], "[1]"), (None, ""))
    ),
    *(
        whole(
            f"the finish reason {reason!r}",
            lambda d, reason=reason: to_json(d.body(TEXT, finish=reason)),
            expected=FINE | {"finish_reason": None},
            dialects=STREAMED,
        )
        for reason in (None, "", "null")
    ),
    *(
        whole(
            f"the finish reason {reason!r}",
            lambda d, reason=reason: to_json(d.body(TEXT, finish=reason)),
            "stream_error",
            dialects=STREAMED,
        )
        for reason in ("abort", "error")
    ),
    *(
        whole(
            f"usage of {tokens!r} tokens",
            lambda d, tokens=tokens: to_json(d.body(TEXT, total=tokens)),
            expected=FINE | {"output_tokens": 14},
            dialects=STREAMED,
        )
        for tokens in (14, 14.0, "14")
    ),
    *(
        whole(
            f"usage of {tokens!r} tokens",
            lambda d, tokens=tokens: to_json(d.body(TEXT, total=tokens)),
            "malformed",
            dialects=STREAMED,
        )
        for tokens in _BAD_COUNTS
    ),
    whole(
        "no choices",
        lambda d: to_json({"choices": [], "usage": {"prompt_tokens": 1}}),
        "malformed",
        dialects=OPENAI,
    ),
    whole("choices of null", lambda d: to_json({"choices": None}), "malformed", dialects=OPENAI),
    *(
        whole(
            f"a stream with the content type {kind!r} to a request for one answer",
            lambda d: frame(to_json(d.body(TEXT))) + END,
            "malformed",
            "a stream of events came",
            content_type=kind,
            wire=kind == SSE,
        )
        for kind in (SSE, JSON, "")
    ),
    whole(
        "an end of the text that is an abort",
        lambda d: to_json(d.body(TEXT, finish={"type": "abort", "message": SAID})),
        "stream_error",
        SAID,
        dialects=[GENERATE],
    ),
    *(
        whole(
            f"a job that is {state}",
            lambda d, state=state: to_json({"id": "j", "status": state}),
            "stream_error",
            state,
            dialects=[VIDEO],
        )
        for state in ("failed", "cancelled", "error")
    ),
    *(
        whole(
            f"the time {value!r}",
            lambda d, value=value: to_json(d.body("p", inference_time_s=value)),
            "malformed",
            dialects=[VIDEO],
        )
        for value in (-1, 1e300, "x", [])
    ),
    whole(
        "a video as text that is not base64", lambda d: b'{"video_bytes":"%%"}', "malformed", dialects=[VIDEO]
    ),
]
