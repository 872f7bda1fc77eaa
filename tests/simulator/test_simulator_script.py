import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_client import payloads, unchunk

from pytest_bench.simulator.behaviour import FRAMINGS, Behaviour
from pytest_bench.simulator.script import Body, Stream, compose

MS = 1_000_000


def stream(content=4, **changes):
    """A role, content 10 ms apart from 50 ms on, a finish and [DONE]."""
    events = [
        b'{"role":1}',
        *(b'{"token":%d}' % number for number in range(content)),
        b'{"finish":1}',
        b"[DONE]",
    ]
    due = [0, *(50 * MS + number * 10 * MS for number in range(content))]
    fields = {
        "payloads": events,
        "due_ns": [*due, due[-1], due[-1]],
        "tokens": [0, *[1] * content, 0, 0],
        "tail": content + 1,
    }
    return Stream(**{**fields, **changes})


def script(reply, *framings, keep_alive=True, **knobs):
    return compose(reply, Behaviour(**knobs), frozenset(framings), request_id="r", keep_alive=keep_alive)


def body_of(written):
    return unchunk(b"".join(written.writes).partition(b"\r\n\r\n")[2])


def test_each_event_is_one_write_when_it_is_due_and_the_tail_shares_one():
    written = script(stream(2))
    assert written.due_ns == [0, 50 * MS, 60 * MS, 60 * MS]
    assert written.tokens == [0, 1, 1, 0]
    assert written.writes[-1].endswith(b"0\r\n\r\n")
    assert b"[DONE]" in written.writes[-1]
    assert b"finish" in written.writes[-1]


def test_the_first_content_is_known_by_its_write():
    assert script(stream()).content_write == 1
    assert script(stream(0)).content_write is None


def test_the_head_echoes_the_request_id_and_names_the_server():
    head = script(stream()).writes[0]
    assert b"x-request-id: r\r\n" in head
    assert b"server: pytest-bench-simulator\r\n" in head


@given(st.sets(st.sampled_from(sorted(FRAMINGS))), st.integers(0, 6), st.integers(1, 4))
def test_whatever_the_framing_the_events_are_the_same(framings, content, coalesce):
    plain = [msgspec.json.decode(data) for data in stream(content).payloads[:-1]]
    *events, done = payloads(body_of(script(stream(content), *framings, coalesce=coalesce)))
    assert [msgspec.json.decode(data) for data in events] == plain
    assert done == b"[DONE]"


@given(st.sets(st.sampled_from(sorted(FRAMINGS))), st.integers(0, 6))
def test_due_times_of_a_write_never_precede_those_of_an_untorn_one(framings, content):
    written = script(stream(content), *framings)
    plain = script(stream(content), *(framings - {"split", "drip"}))
    assert b"".join(written.writes) == b"".join(plain.writes)
    assert sum(written.tokens) == sum(plain.tokens) == content


def test_crlf_ends_every_line_of_the_stream():
    body = body_of(script(stream(), "crlf"))
    assert body.count(b"\r\n") == body.count(b"\n")


def test_comments_are_sent_between_events():
    assert b": ping\n" in body_of(script(stream(), "comments"))


def test_multiline_spreads_the_json_over_data_lines():
    body = body_of(script(stream(1), "multiline"))
    assert body.count(b"data: ") == 2 * 3 + 1


def test_compact_leaves_out_the_space():
    assert b"data: " not in body_of(script(stream(), "compact"))


def test_split_tears_each_write_in_two_a_millisecond_apart():
    written = script(stream(1), "split")
    assert written.due_ns[:4] == [0, MS, 50 * MS, 51 * MS]
    assert written.content_write == 3


def test_drip_writes_single_bytes():
    written = script(Body(data=b"0123456789"), "drip", drip_ms=2.0)
    assert {len(data) for data in written.writes} == {1}
    assert written.due_ns[1] - written.due_ns[0] == 2 * MS


def test_coalesced_events_share_a_write_when_the_last_is_due():
    written = script(stream(5), coalesce=2)
    assert written.tokens == [0, 2, 2, 1, 0]
    assert written.due_ns[1] == 60 * MS


def test_keep_alive_comments_fill_the_wait_for_the_first_token():
    written = script(stream(1), keepalive_ms=20.0)
    assert written.due_ns == [0, 20 * MS, 40 * MS, 50 * MS, 50 * MS]
    assert b": keep-alive\n\n" in written.writes[1]
    assert written.content_write == 3


def test_a_client_that_asks_for_it_is_left_after_the_answer():
    written = script(Body(data=b"{}"), keep_alive=False)
    assert b"connection: close" in written.writes[0]
    assert written.ending == "close"


def test_a_stream_cut_before_its_first_event_still_has_a_head():
    cut = stream(
        0, payloads=[], due_ns=[], tokens=[], tail=0, terminated=False, ending="reset", ending_due_ns=5
    )
    assert script(cut).writes[0].startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("reply", [stream(), Body(data=b"{}")])
def test_tearing_changes_no_byte(reply):
    assert b"".join(script(reply, "drip").writes) == b"".join(script(reply).writes)
