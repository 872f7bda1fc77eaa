import re
from itertools import accumulate, pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import CHUNKED, HEAD

from pytest_bench.api import Decoded
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.load.connection import Connection
from pytest_bench.load.deltas import read_deltas
from pytest_bench.load.exchange import Exchange
from pytest_bench.load.framing import split_events
from pytest_bench.load.moments import Reads
from pytest_bench.load.responses import decode_response
from pytest_bench.load.wake_delay import WakeDelay
from pytest_bench.records import Moments

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
JSON = VALUES.map(msgspec.json.encode)
OBJECTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=2).map(msgspec.json.encode)

NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])

NOISE = st.sampled_from([b": ping", b":", b"event: message", b"id: 7", b"retry: 10", b"data-ish: x", b"foo"])


@st.composite
def bodies(draw, newlines=NEWLINES):
    """A legal stream in any framing, and the data of its events."""
    newline = draw(newlines)
    events = draw(st.lists(JSON, max_size=6))
    if draw(st.booleans()):
        events.append(b"[DONE]")
    body = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    for event in events:
        body += b"".join(line + newline for line in draw(st.lists(NOISE, max_size=2)))
        lines = event.split(b",") if draw(st.booleans()) else [event]
        lines = [line + b"," for line in lines[:-1]] + lines[-1:]
        body += b"".join(draw(st.sampled_from([b"data: ", b"data:"])) + line + newline for line in lines)
        body += newline * draw(st.integers(1, 3))
    return body


@st.composite
def common_bodies(draw):
    """As nearly every server frames its streams."""
    events = draw(st.lists(OBJECTS, min_size=1, max_size=6))
    done = [b"[DONE]"] if draw(st.booleans()) else []
    return b"".join(b"data: " + event + b"\n\n" for event in events + done)


def standard_events(body: bytes) -> list[bytes]:
    """The algorithm of the WHATWG specification, line by line, written for clarity alone."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(b"\r\n|\r|\n", body)[:-1]  # what follows the last line end is no line
    events, data = [], None
    for line in lines:
        if not line:
            if data is not None:
                events.append(data.removesuffix(b"\n"))
            data = None
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            if field == b"data":
                data = (data or b"") + value.removeprefix(b" ") + b"\n"
    return events


def expected(body: bytes) -> tuple[bytes, int, bool]:
    events = [event for event in standard_events(body) if event.strip() not in (b"", b"null")]
    done = b"[DONE]" in events
    payloads = events[: events.index(b"[DONE]")] if done else events
    return b"[%b]" % b",".join(payloads), len(payloads), done


@given(bodies() | common_bodies())
def test_a_stream_in_any_legal_framing_is_split_as_the_standard_says(body):
    assert split_events(body)[:3] == expected(body)


@given(common_bodies(), common_bodies())
def test_what_follows_done_is_not_part_of_the_stream(body, rest):
    body += b"data: [DONE]\n\n"
    assert split_events(body + rest.replace(b"data: [DONE]\n\n", b""))[:3] == expected(body)


@given(common_bodies())
def test_the_common_framing_and_the_same_events_with_a_comment_are_read_alike(body):
    fast, slow = split_events(body), split_events(b": comment\n" + body)
    assert fast[:3] == slow[:3]
    assert fast.ends is None
    assert len(slow.ends) == slow.size + slow.done


@pytest.mark.parametrize("cut", [1, 2])
def test_a_last_event_without_its_blank_line_is_dropped(cut):
    events = split_events(b"data: 1\n\ndata: 2\n\n"[:-cut])
    assert (events.array, events.size) == (b"[1]", 1)


# Arrival of events: which read completed each.


class Reader:
    """Replaces the load worker and its loop, without a socket."""

    def __init__(self):
        self.done = []
        self.wake = WakeDelay()

    def add(self, fd, connection):
        pass

    def remove(self, fd):
        pass

    def completed(self, connection, exchange):
        self.done.append(exchange)

    def broken(self, connection, exchange, failure, *, resend):
        raise AssertionError(failure)

    def idle_closed(self, connection):
        raise AssertionError("nothing was idle")


class Wire:
    """A socket that accepts everything and is never read."""

    recvmsg_into = None

    def fileno(self):
        return 9

    def send(self, data):
        return len(data)

    def close(self):
        pass


STEP = 2_000_000
"""Nanoseconds between reads, longer than a sender waits. The socket was empty 3 before the kernel's stamp, and read 2
after it."""


def read_all(reads: list[bytes]) -> Exchange:
    """The exchange of a response that arrives in these reads, each stamped `STEP` later."""
    reader = Reader()
    connection = Connection(reader, reader, Wire(), 0, limit_bytes=10**9)
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    exchange.send_start_ns = 1
    connection.send(exchange)
    for number, data in enumerate(reads, 1):
        at = STEP * number
        connection.received(data, len(data), at, at + 2, at - 3)
    if not reader.done:
        at = STEP * (len(reads) + 1)
        connection.ended(None, at, at - 3)
    assert reader.done == [exchange]
    return exchange


@pytest.mark.parametrize(("length", "single"), [(100, True), (4000, True), (5000, False)])
def test_a_large_read_is_not_taken_for_one_event(length, single):
    """It may be of several segments, whose stamp is that of the last, or hold a part of the next chunk."""
    reader = Reader()
    connection = Connection(reader, reader, Wire(), 0, limit_bytes=10**9)
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    connection.send(exchange)
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"
    assert not connection.received(head, len(head), STEP, STEP + 2, STEP - 3)
    piece = b"%x\r\n%s\r\n" % (length, b"x" * length)
    assert connection.received(piece, len(piece), 2 * STEP, 2 * STEP + 2, 2 * STEP - 3) is single
    assert exchange.large_reads is not single


def delta(text: str) -> bytes:
    return msgspec.json.encode(
        {"id": "c1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    )


FINISH = b'{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


@st.composite
def responses(draw):
    """A chat stream as bytes on the wire, cut into chunks and into reads anywhere; and its texts."""
    texts = draw(st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=20))
    payloads = [delta(text) for text in texts] + [FINISH, b"[DONE]"]
    plain = draw(st.booleans())
    body, ends = b"", []
    for payload in payloads:
        if plain:
            body += b"data: " + payload + b"\n\n"
        else:
            newline = draw(st.sampled_from([b"\n", b"\r\n"]))
            body += draw(st.sampled_from([b"", b": ping" + newline]))
            body += draw(st.sampled_from([b"data:", b"data: "])) + payload + newline * 2
        ends.append(len(body))
    head, wire, wire_ends = (CHUNKED, b"", []) if draw(st.booleans()) else (HEAD + b"\r\n", b"", [])
    if head == CHUNKED:
        anywhere = st.sets(st.integers(1, len(body)), max_size=8)
        blank_lines = [end - back for end in ends for back in (1, 2)]
        inside_blank_lines = st.sets(st.sampled_from(blank_lines), min_size=1)
        moved = st.tuples(st.sampled_from(ends), st.integers(-20, 20)).map(
            lambda move: {*ends} - {move[0]} | {min(max(1, sum(move)), len(body))}
        )
        cuts = draw(st.just(ends) | moved | anywhere | inside_blank_lines)
        position = 0
        for cut in sorted({*cuts, len(body)}):
            opening = b"%x\r\n" % (cut - position)
            for end in ends:
                if position < end <= cut:
                    wire_ends.append(len(wire) + len(opening) + end - position)
            wire += opening + body[position:cut] + b"\r\n"
            position = cut
        wire += draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nx-trailer: 1\r\n\r\n"]))
    else:
        wire, wire_ends = body, ends
    stream = head + wire
    wire_ends = [len(head) + end for end in wire_ends]
    cuts = draw(st.sets(st.integers(1, len(stream) - 1), max_size=12))
    near = draw(st.sets(st.sampled_from(wire_ends), max_size=6))
    cuts |= {end + draw(st.integers(-3, 3)) for end in near}
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(stream)), len(stream)]
    reads = [stream[start:end] for start, end in pairwise(edges)]
    return texts, reads, wire_ends


@given(responses())
def test_an_event_arrives_with_the_read_that_completes_it_however_the_packets_were_cut(response):
    texts, reads, wire_ends = response
    result = decode_response(read_all(reads), seq=0, api=OpenAIChat, streaming=True, texts="keep")
    record, text = result.record, result.text
    assert (record.error_detail, record.outcome) == (None, "succeeded")
    assert text.content == "".join(texts)
    arrived, total = [], 0
    for number, data in enumerate(reads, 1):
        before, total = total, total + len(data)
        arrived += [STEP * number] * sum(before < end <= total for end in wire_ends)
    content = arrived[: len(texts)]
    assert record.first_content_ns == record.first_output_ns == content[0]
    assert record.last_content_ns == content[-1]
    assert record.content_gaps_ns == tuple(b - a for a, b in pairwise(content))


@given(responses())
def test_an_event_is_uncertain_if_anything_followed_it_in_its_read(response):
    texts, reads, wire_ends = response
    record = decode_response(read_all(reads), seq=0, api=OpenAIChat, streaming=True, texts="drop").record
    assert record.seen_after_ns.first_content == record.seen_after_ns.last_content == 2
    edges = list(accumulate(map(len, reads)))
    uncertainty = record.uncertainty_ns or Moments()
    found = {0: uncertainty.first_content, len(texts) - 1: uncertainty.last_content}
    if any(record.content_gaps_ns):  # otherwise all content has one stamp
        inner = record.inner_uncertainty_ns or (0,) * (len(texts) - 2)
        found |= dict(enumerate(inner, 1))
    else:
        assert record.inner_uncertainty_ns == ()
    for number, uncertainty_ns in found.items():
        end = wire_ends[number]
        edge = next(edge for edge in edges if edge >= end)
        if edge == edges[-1] or any(end < later <= edge for later in wire_ends):
            assert uncertainty_ns == 3
        elif edge == end:
            assert uncertainty_ns == 0


def late_then(at_ns, *, empty_ns, chunked=True):
    """An exchange whose second event was read 200 µs after its stamp and 300 µs after the socket was empty, and whose
    third has this stamp."""
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    exchange.send_start_ns = 1
    exchange.status, exchange.content_type, exchange.chunked = 200, "text/event-stream", chunked
    exchange.body = [b"data: " + delta(text) + b"\n\n" for text in "xyz"] + [b"data: [DONE]\n\n"]
    first = [STEP, STEP + 5, STEP - 5, 1]
    late = [3 * STEP - 200_000, 3 * STEP, 3 * STEP - 300_000, 2]
    exchange.reads = [*first, *late, at_ns, at_ns + 5, empty_ns, 3, 9 * STEP, 9 * STEP + 5, 9 * STEP - 5, 4]
    return exchange


@pytest.mark.parametrize(
    ("after_ns", "chunked", "held_ns"),
    [(1_000_001, True, 0), (1_000_000, True, 200_000), (1_000_000, False, 300_000)],
    ids=["after a round trip", "within a round trip", "within it, after a read of perhaps several events"],
)
def test_an_event_within_a_round_trip_after_a_late_read_is_as_uncertain_as_that_read_was_late(
    after_ns, chunked, held_ns
):
    at_ns = 3 * STEP + after_ns
    exchange = late_then(at_ns, empty_ns=at_ns - 50, chunked=chunked)
    record = decode_response(exchange, seq=0, api=OpenAIChat, streaming=True, texts="drop").record
    assert (record.uncertainty_ns or Moments()).last_content == held_ns


def test_an_inner_event_after_a_late_read_is_uncertain_too():
    exchange = late_then(3 * STEP + 500_000, empty_ns=3 * STEP)
    exchange.body.insert(3, b"data: " + delta("w") + b"\n\n")
    exchange.reads[-4:] = [
        9 * STEP,
        9 * STEP + 5,
        9 * STEP - 5,
        4,
        12 * STEP,
        12 * STEP + 5,
        12 * STEP - 5,
        5,
    ]
    record = decode_response(exchange, seq=0, api=OpenAIChat, streaming=True, texts="drop").record
    assert record.inner_uncertainty_ns == (0, 200_000)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * STEP), st.integers(0, STEP), st.integers(0, STEP // 2), st.integers(0, 2)
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_the_uncertainties_of_all_reads_are_those_of_each(steps, chunked):
    reads, at_ns, pieces = [], 10, 0
    for wait_ns, open_ns, lag_ns, more in steps:
        at_ns, pieces = at_ns + wait_ns, pieces + more
        reads += [at_ns, at_ns + lag_ns, at_ns - min(open_ns, wait_ns), pieces]
    found = Reads(reads, sent_ns=5, connect_ns=7, chunked=chunked)
    followed, last = found._uncertainties_ns()
    for read in range(len(steps)):
        alone = read + 1 < len(steps)
        assert followed[read] == found._moment(read, alone=False).uncertainty_ns
        assert last[read] == found._moment(read, alone=alone).uncertainty_ns


def test_a_read_without_a_stamp_of_the_kernel_is_uncertain_since_the_socket_was_empty():
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    exchange.send_start_ns = 1
    exchange.status, exchange.content_type = 200, "text/event-stream"
    exchange.body = [b"data: " + delta("x") + b"\n\n", b"data: " + FINISH + b"\n\n"]
    second, third = 2 * STEP, 4 * STEP
    exchange.reads = [100, 100, 40, 1, second, second + 5, second - 50, 2, third, third + 5, third - 50, 2]
    record = decode_response(exchange, seq=0, api=OpenAIChat, streaming=True, texts="drop").record
    assert (record.first_content_ns, record.seen_after_ns.first_content) == (100, 0)
    assert record.uncertainty_ns.first_content == 60
    assert (record.end_ns, record.seen_after_ns.end, record.uncertainty_ns.end) == (third, 5, 0)


def test_nothing_arrives_before_the_request_leaves():
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    exchange.send_start_ns = 90
    exchange.status, exchange.content_type = 200, "text/event-stream"
    exchange.body = [b"data: " + delta("x") + b"\n\n", b"data: " + FINISH + b"\n\n"]
    exchange.reads = [100, 105, 40, 2]
    record = decode_response(exchange, seq=0, api=OpenAIChat, streaming=True, texts="drop").record
    assert record.uncertainty_ns == Moments(first_byte=10, first_content=10, first_output=10, last_content=10)


def test_a_step_of_the_clock_puts_the_clients_own_stamps_in_place_of_the_kernels():
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    exchange.reads = [100, 103, 40, 1, 999, 205, 150, 2]
    exchange.void_stamps(200)
    assert exchange.reads == [100, 103, 40, 1, 205, 205, 150, 2]
    assert Reads(exchange.reads, sent_ns=0).lags_ns == [3, 0]


def as_listed(decoded: Decoded) -> Decoded:
    return msgspec.structs.replace(decoded, content_events=list(decoded.content_events))


def decoded_one_by_one(parts: list[bytes]) -> tuple[Decoded, bool]:
    events = split_events(b"".join(parts))
    return OpenAIChat.decode_stream(events.array), events.done


@given(responses())
def test_decoding_by_template_gives_what_decoding_every_event_gives(response):
    _, reads, _ = response
    exchange = read_all(reads)
    fast = read_deltas(exchange.body, OpenAIChat)
    if fast is not None:
        assert (as_listed(fast.decoded), fast.done) == decoded_one_by_one(exchange.body)


def chat(delta, **more) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": None} | more
    return b"data: " + msgspec.json.encode({"id": "c1", "choices": [choice]}) + b"\n\n"


ODD = st.sampled_from(
    [
        chat({"role": "assistant"}),
        chat({"role": "assistant", "content": ""}),
        chat({"content": ""}),
        chat({"reasoning_content": "hm"}),
        chat({"content": "x"}, finish_reason="stop"),
        chat({"content": "x"}) + chat({"content": "y"}),
        chat({"content": 'quote " and \\ and \n'}),
        chat({}, finish_reason="stop"),
        chat({"content": "x"})[:-1],
        chat({"content": "x"})[:-2],
        chat({"content": "x"})[:-2] + b"\r\n\r\n",
        chat({"content": "x"})[:20],
        chat({"content": "x"}) + b"\n",
        b": ping\n\n",
        b"data: [DONE]\n\n",
        b"data: [DONE]!\n\n",
        b'data: {"error":{"message":"no"}}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
        b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"x","content":"y"},"finish_reason":null}]}\n\n',
    ]
)


@st.composite
def nearly_alike(draw):
    """Pieces of a body, most of them events that differ in their text alone."""
    texts = draw(st.lists(st.text(min_size=1, max_size=2), min_size=10, max_size=16))
    parts = [chat({"content": text}) for text in texts]
    places = st.integers(0, len(parts)) | st.sampled_from([0, 1, len(parts) - 1, len(parts)])
    for place, odd in draw(st.lists(st.tuples(places, ODD), max_size=4)):
        parts.insert(place, odd)
    return parts + draw(st.sampled_from([[], [chat({}, finish_reason="stop"), b"data: [DONE]\n\n"]]))


@given(nearly_alike())
def test_decoding_by_template_is_not_used_where_it_would_give_another_answer(parts):
    fast = read_deltas(parts, OpenAIChat)
    if fast is not None:
        assert (as_listed(fast.decoded), fast.done) == decoded_one_by_one(parts)
