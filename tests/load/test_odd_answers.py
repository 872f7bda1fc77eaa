"""Every API through every odd answer of the table, decoded as a load worker decodes it."""

from itertools import pairwise

import pytest
from dialects import ALL, STREAMED, Dialect, to_json
from odd_answers import BODIES, END, JSON, SSE, STREAMS, Case
from wire_server import chunk

from pytest_bench.api import Api
from pytest_bench.load.exchange import Exchange
from pytest_bench.load.responses import ExchangeResult, decode_response
from pytest_bench.records import ERROR_TYPES
from pytest_bench.workload import Load

ROWS = [(case, dialect) for case in (*STREAMS, *BODIES) for dialect in case.dialects]
WIRE = [(case, dialect) for case, dialect in ROWS if case.wire]


def named(rows):
    return [pytest.param(case, dialect, id=f"{dialect.name}-{case.name}") for case, dialect in rows]


def decoded(
    pieces: list[bytes], api: type[Api], *, content_type: str = SSE, streaming: bool = True
) -> ExchangeResult:
    """The record of a complete response of status 200, of which each read brought one piece."""
    exchange = Exchange(phase=0, index=0, sample=0, endpoint=0, request_id="r", request=b"")
    exchange.send_start_ns = 0
    exchange.status = 200
    exchange.content_type = content_type
    exchange.body = list(pieces)
    exchange.response_bytes = sum(map(len, pieces))
    head = [1, 2, 0, 0]
    exchange.reads = head + [
        number for at in range(1, len(pieces) + 1) for number in (10 * at, 10 * at + 1, 10 * at - 5, at)
    ]
    return decode_response(exchange, seq=0, api=api, streaming=streaming, texts="keep")


def pieces_of(case: Case, dialect: Dialect) -> list[bytes]:
    return list(case.frames(dialect))


def of(case: Case, dialect: Dialect, pieces: list[bytes], api: type[Api] | None = None) -> ExchangeResult:
    return decoded(pieces, api or dialect.api, content_type=case.content_type, streaming=case.streaming)


def untimed(result: ExchangeResult) -> tuple:
    """Everything but times."""
    record = result.record
    values = {name: getattr(record, name) for name in record.__struct_fields__ if not name.endswith("_ns")}
    return values, result.text, result.attachment


def plain(api: type[Api]) -> type[Api]:
    """The same API without the key that allows the short cut through alike events."""
    return type("Plain", (api,), {"delta_key": None})


def check(case: Case, record, text) -> None:
    assert (record.error, record.outcome) == (case.error, "failed" if case.error else "succeeded"), (
        record.error_detail
    )
    if case.error is not None:
        assert case.detail in record.error_detail
        assert text is None
        return
    found = {
        "output_tokens": None if record.usage is None else record.usage.output_tokens,
        **{name: getattr(record, name) for name in record.__struct_fields__},
        **{name: getattr(text, name) for name in text.__struct_fields__},
    }
    assert {name: found[name] for name in case.expected} == case.expected


@pytest.mark.parametrize(("case", "dialect"), named(ROWS))
def test_an_odd_answer_has_the_outcome_in_the_table(case, dialect):
    result = of(case, dialect, pieces_of(case, dialect))
    check(case, result.record, result.text)


@pytest.mark.parametrize(("case", "dialect"), named(ROWS))
def test_an_odd_answer_means_the_same_however_its_bytes_were_cut(case, dialect):
    pieces = pieces_of(case, dialect)
    body = b"".join(pieces)
    whole = untimed(of(case, dialect, [body]))
    halves = [
        part for piece in pieces for part in (piece[: len(piece) // 2], piece[len(piece) // 2 :]) if part
    ]
    for cut in (pieces, halves, [body[at : at + 1] for at in range(len(body))]):
        assert untimed(of(case, dialect, cut)) == whole


@pytest.mark.parametrize(
    ("case", "dialect"), named((case, dialect) for case, dialect in ROWS if case.streaming)
)
def test_the_short_cuts_through_a_stream_agree_with_reading_it_line_by_line(case, dialect):
    pieces = pieces_of(case, dialect)
    for cut in (pieces, [b"".join(pieces)]):
        quick = of(case, dialect, cut)
        slow = of(case, dialect, cut, plain(dialect.api))
        commented = of(case, dialect, [b": a comment\n", *cut])
        assert quick == slow
        if not b"".join(cut).startswith((b"\xef\xbb\xbf", b"{")):
            assert untimed(quick)[1:] == untimed(commented)[1:]
            assert quick.record.error == commented.record.error


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda dialect: dialect.name)
def test_a_stream_cut_anywhere_fails_unless_its_finish_reason_came(dialect):
    frames = [*dialect.answer(), END]
    body, finished = b"".join(frames), len(b"".join(frames[:-1]))
    for cut in range(len(body) + 1):
        record = decoded([body[:cut]] if cut else [], dialect.api).record
        assert record.error == (None if cut >= finished else "truncated_stream"), body[:cut]


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda dialect: dialect.name)
def test_a_stream_of_an_error_never_succeeds_wherever_it_is_cut(dialect):
    for error in (
        b'error: {"message":"m"}\n\n',
        b'event: error\ndata: {"detail":"m"}\n\n',
        b'data: {"detail":"m"}\n\n',
    ):
        body = error + END
        for cut in range(len(body) + 1):
            record = decoded([body[:cut]] if cut else [], dialect.api).record
            assert record.error in ("stream_error", "truncated_stream"), body[:cut]


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_a_body_cut_anywhere_is_malformed(dialect):
    body = to_json(dialect.body("some text"))
    for cut in range(len(body)):
        result = decoded([body[:cut]] if cut else [], dialect.api, content_type=JSON, streaming=False)
        assert result.record.error == "malformed", body[:cut]


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda dialect: dialect.name)
def test_content_that_came_with_one_read_has_one_stamp_and_no_gaps_between(dialect):
    record = decoded([b"".join([*dialect.answer(), END])], dialect.api).record
    assert (record.first_content_ns, record.last_content_ns) == (10, 10)
    assert set(record.content_gaps_ns) == {0}


def test_every_type_of_failure_in_the_table_exists():
    assert {case.error for case in (*STREAMS, *BODIES)} - {None} <= set(ERROR_TYPES)


def test_every_name_in_the_table_is_unique():
    for dialect in ALL:
        for table in (STREAMS, BODIES):
            names = [case.name for case in table if dialect in case.dialects]
            assert not {name for name, after in pairwise(sorted(names)) if name == after}


# The same over loopback.


def test_a_row_of_each_kind_goes_over_loopback():
    assert {dialect for _, dialect in WIRE} == set(ALL)
    assert {case.error for case, _ in WIRE} == {case.error for case, _ in ROWS}


@pytest.mark.parametrize(("case", "dialect"), named(WIRE))
def test_an_odd_answer_of_a_server_has_the_outcome_in_the_table(wire, drive, case, dialect):
    kind = f"content-type: {case.content_type}\r\n".encode() if case.content_type else b""
    head = b"HTTP/1.1 200 OK\r\n" + kind + b"transfer-encoding: chunked\r\n\r\n"
    pieces = [head, *map(chunk, pieces_of(case, dialect)), b"0\r\n\r\n"]

    def answer(turn):
        for piece in pieces:
            turn.write(piece)

    run = drive(
        wire(answer).url,
        Load(pattern="concurrency", concurrency=1, requests=2),
        api=dialect.api,
        streaming=case.streaming,
    )
    assert (run.result.issued, run.result.interrupted, run.result.complete) == (2, 0, True)
    for record in run.records():
        check(case, record, run.texts().get(record.request_id))
