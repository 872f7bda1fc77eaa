"""HTTP as servers send it, byte by byte, and the request records that result."""

import socket
import time
from itertools import pairwise

import pytest
from driving import phase, truth_of
from wire_server import BODY, CHUNKED, EVENTS, HEAD, STREAM, chunk

from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.load.connecting import ConnectAttempt
from pytest_bench.simulator import read_truth
from pytest_bench.workload import Load, SampleOrder, Timeouts

ONE_BY_ONE = Load(pattern="concurrency", concurrency=1, requests=3)
LONG = phase(ONE_BY_ONE, samples=SampleOrder(order="single", count=1, index=0))
"""The sample that `padding` makes long."""
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def in_pieces(*pieces, pause_s=0.02):
    def answer(turn):
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause_s)  # lets the client read the pieces apart
            turn.write(piece)

    return answer


def then_close(data):
    def answer(turn):
        turn.write(data)
        turn.close()

    return answer


def at(data, *cuts):
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


END = len(STREAM)
DATA = b"".join(EVENTS)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(in_pieces(STREAM), id="one piece"),
        pytest.param(in_pieces(b"HTTP/1.1 100 Continue\r\n\r\n" + STREAM), id="100 in the same packet"),
        pytest.param(in_pieces(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", STREAM), id="103 before"),
        pytest.param(in_pieces(*at(STREAM, 10, 60)), id="split in the head"),
        *(
            pytest.param(in_pieces(*at(STREAM, END - cut)), id=f"end split {cut} bytes before")
            for cut in (1, 2, 3, 4, 5, 6, 7)
        ),
        pytest.param(in_pieces(*at(STREAM, END - 4, END - 3, END - 2, END - 1)), id="end byte by byte"),
        pytest.param(
            in_pieces(CHUNKED + chunk(DATA) + b"0\r\nx-checksum: 1\r\nx-more: 2\r\n\r\n"), id="trailers"
        ),
        pytest.param(
            in_pieces(CHUNKED + chunk(DATA) + b"0\r\nx-checksum:", b" 1\r\n", b"\r\n"), id="trailers split"
        ),
        pytest.param(
            in_pieces(CHUNKED + b"%x;name=value\r\n%b\r\n0\r\n\r\n" % (len(DATA), DATA)), id="chunk extension"
        ),
        pytest.param(
            in_pieces(CHUNKED + b"".join(map(chunk, at(DATA, 3, 50, 80, 81, 82))) + b"0\r\n\r\n"),
            id="chunks cut anywhere",
        ),
        pytest.param(
            in_pieces(HEAD + b"content-length: %d\r\n\r\n" % len(DATA), DATA[:40], DATA[40:]),
            id="a stream with its length",
        ),
        pytest.param(then_close(HEAD + b"\r\n" + DATA), id="a body that ends with the connection"),
        pytest.param(
            then_close(HEAD.replace(b"1.1", b"1.0") + b"\r\n" + DATA), id="HTTP/1.0 closes after every answer"
        ),
        pytest.param(
            in_pieces(
                HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n", chunk(DATA), b"0\r\n\r\n"
            ),
            id="connection: close",
        ),
        pytest.param(in_pieces(STREAM.replace(b"content-type", b"Content-TYPE")), id="names in any case"),
        pytest.param(
            in_pieces(CHUNKED + chunk(DATA.replace(b"\n", b"\r\n")) + b"0\r\n\r\n"), id="events in CRLF"
        ),
        pytest.param(
            in_pieces(CHUNKED + chunk(DATA.partition(b"data: [DONE]")[0]) + b"0\r\n\r\n"), id="no [DONE]"
        ),
    ],
)
def test_a_stream_is_read_whole_however_the_server_frames_it(wire, drive, answer):
    server = wire(answer)
    run = drive(server.url, ONE_BY_ONE)
    assert [record.error_detail for record in run.records()] == [None] * 3
    assert {text.content for text in run.texts().values()} == {"one two three"}
    assert [record.content_event_count for record in run.records()] == [3, 3, 3]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(in_pieces(WHOLE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY), id="one piece"),
        pytest.param(
            in_pieces(WHOLE + b"content-length: %d\r\n\r\n" % len(BODY), BODY[:9], BODY[9:]), id="pieces"
        ),
        pytest.param(
            in_pieces(WHOLE + b"transfer-encoding: chunked\r\n\r\n" + chunk(BODY) + b"0\r\n\r\n"),
            id="chunked",
        ),
        pytest.param(then_close(WHOLE + b"\r\n" + BODY), id="ended by the connection"),
    ],
)
def test_a_body_that_is_not_streamed_is_read_whole(wire, drive, answer):
    run = drive(wire(answer).url, ONE_BY_ONE, streaming=False)
    assert [record.error_detail for record in run.records()] == [None] * 3
    assert {text.content for text in run.texts().values()} == {"one two three"}
    assert all(record.first_content_ns is None for record in run.records())
    assert all(record.last_content_ns == record.end_ns for record in run.records())


def status(line, *headers):
    return in_pieces(b"\r\n".join([b"HTTP/1.1 " + line, *headers, b"content-length: 4", b"", b"why?"]))


@pytest.mark.parametrize(
    ("answer", "error", "detail"),
    [
        pytest.param(status(b"404 Not Found"), "http_status", "404: why?", id="404"),
        pytest.param(in_pieces(b"HTTP/1.1 204 No Content\r\n\r\n"), "http_status", "204", id="204"),
        pytest.param(status(b"429 Too Many Requests"), "rate_limited", "429: why?", id="429"),
        pytest.param(status(b"502 Bad Gateway"), "server_error", "502: why?", id="502"),
        pytest.param(status(b"302 Found", b"location: /elsewhere"), "redirect", "302", id="redirect"),
        pytest.param(in_pieces(b"SSH-2.0-OpenSSH_9.6\r\n"), "protocol", "", id="not HTTP"),
        pytest.param(in_pieces(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"), "protocol", "", id="bad header"),
        pytest.param(in_pieces(CHUNKED + b"zz\r\n\r\n\r\n"), "protocol", "", id="bad chunk size"),
        pytest.param(
            in_pieces(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            "protocol",
            "101 (Switching Protocols): the server changes the protocol",
            id="switching protocols",
        ),
        pytest.param(
            in_pieces(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
            "protocol",
            "101 (Switching Protocols): the server changes the protocol",
            id="switching protocols without saying to which",
        ),
        pytest.param(
            in_pieces(HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(DATA)),
            "protocol",
            "",
            id="two lengths",
        ),
        pytest.param(
            then_close(CHUNKED + chunk(EVENTS[0])),
            "reset",
            f"closed after {len(EVENTS[0])} bytes",
            id="closed early",
        ),
        pytest.param(
            then_close(HEAD + b"content-length: 900\r\n\r\n" + DATA),
            "short_body",
            "of 900 bytes",
            id="short body",
        ),
        pytest.param(
            then_close(HEAD + b"\r\n" + EVENTS[0]),
            "truncated_stream",
            "after 1 events",
            id="cut between events",
        ),
        pytest.param(
            in_pieces(CHUNKED + chunk(EVENTS[0] + EVENTS[1][:-9]) + b"0\r\n\r\n"),
            "truncated_stream",
            "after 1 events",
            id="cut inside an event",
        ),
        pytest.param(
            in_pieces(CHUNKED + b"0\r\n\r\n"), "truncated_stream", "after 0 events", id="no event at all"
        ),
        pytest.param(
            in_pieces(CHUNKED + chunk(b"data: {\n\n") + b"0\r\n\r\n"), "malformed", "", id="not JSON"
        ),
        pytest.param(
            in_pieces(WHOLE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY),
            "malformed",
            "asked for a stream, answered with application/json",
            id="no stream",
        ),
        *(
            pytest.param(
                in_pieces(CHUNKED + chunk(DATA.replace(b'"stop"', b'"%b"' % reason)) + b"0\r\n\r\n"),
                "stream_error",
                f"the server's finish reason is '{reason.decode()}'",
                id=f"finish reason {reason.decode()}",
            )
            for reason in (b"abort", b"error")
        ),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_a_typed_failure(wire, drive, answer, error, detail):
    run = drive(wire(answer).url, ONE_BY_ONE)
    result = run.result
    assert result.failures == {error: 3}
    assert (result.issued, result.succeeded, result.failed, result.complete) == (3, 0, 3, True)
    assert all(detail in record.error_detail for record in run.records())
    assert all(record.first_content_ns is None for record in run.records())


def endless(head, piece):
    def answer(turn):
        turn.socket.sendall(head)
        while True:
            turn.socket.sendall(piece)  # until the client hangs up

    return answer


@pytest.mark.parametrize(
    ("answer", "error", "detail"),
    [
        pytest.param(
            endless(CHUNKED, chunk(b"data: {}\n\n" * 1000)),
            "too_long",
            "longer than the limit of 3,000,000 bytes",
            id="an endless body",
        ),
        pytest.param(
            endless(b"HTTP/1.1 200 OK\r\nx: ", b"v" * 65536),
            "malformed",
            "of headers or trailers",
            id="header",
        ),
        pytest.param(
            endless(CHUNKED + chunk(DATA) + b"0\r\nx: ", b"v" * 65536),
            "malformed",
            "of headers or trailers",
            id="trailer",
        ),
        pytest.param(
            endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
            "malformed",
            "of headers or trailers",
            id="interim answers",
        ),
    ],
)
def test_a_response_without_an_end_fails_at_a_limit(wire, drive, answer, error, detail):
    run = drive(
        wire(answer).url, Load(pattern="concurrency", concurrency=2, requests=2), max_response_bytes=3_000_000
    )
    assert run.errors() == {error: 2}
    assert all(detail in record.error_detail for record in run.records())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"data: x\r\r" * 250_000, id="events that end in carriage returns"),
        pytest.param(b"\r" * 10_000_000, id="empty lines"),
        pytest.param(b"data: x\n" * 400_000, id="an event of many lines"),
        pytest.param(b"data: x\r\r" * 2_000_000, id="more events than any answer has"),
    ],
)
def test_a_long_stream_in_an_odd_framing_costs_the_load_worker_no_heartbeat(wire, drive, body):
    answer = in_pieces(CHUNKED + chunk(body) + b"0\r\n\r\n")
    run = drive(wire(answer).url, Load(pattern="concurrency", concurrency=1, requests=1))
    [record] = run.records()
    assert record.error in {"malformed", "truncated_stream"}


@pytest.mark.parametrize("reason", [b"abort", b"cancelled", b"error", b"timeout"])
def test_a_body_whose_finish_reason_is_that_the_server_gave_up_is_a_failure(wire, drive, reason):
    body = BODY.replace(b'"stop"', b'"%b"' % reason)
    answer = in_pieces(WHOLE + b"content-length: %d\r\n\r\n" % len(body) + body)
    run = drive(wire(answer).url, ONE_BY_ONE, streaming=False)
    assert run.errors() == {"stream_error": 3}


def test_a_server_that_is_not_there_fails_every_request_without_spinning(drive):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    run = drive(url, Load(pattern="concurrency", concurrency=2, duration_s=0.3))
    assert set(run.result.failures) == {"connect"}
    # Each place waits 50 ms after a refusal.
    lasted_ns = run.result.last_completion_ns - run.result.start_ns
    assert 2 <= run.result.issued <= 2 * (1 + lasted_ns / 50e6)
    assert all("refused" in record.error_detail.lower() for record in run.records())


def test_a_server_that_accepts_no_connection_is_a_connect_timeout(drive):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as taken:
        taken.connect(listener.getsockname())  # fills the backlog
        run = drive(
            f"http://127.0.0.1:{listener.getsockname()[1]}",
            Load(pattern="concurrency", concurrency=3, requests=3),
            timeouts=Timeouts(connect_s=0.2),
        )
    assert "connect_timeout" in run.result.failures or "reset" in run.result.failures
    assert run.result.issued == run.result.failed == 3


# Connections.


def test_connections_are_opened_before_the_phase_a_few_at_a_time_and_then_reused(simulate, drive):
    server = simulate()
    begun_ns = time.monotonic_ns()
    run = drive(
        server.url, Load(pattern="concurrency", concurrency=40, requests=200), knobs={"ttft_ms": 5}, workers=2
    )
    server.close()
    truth = truth_of(server, run)
    assert truth.connections == 40
    assert all(record.accept_ns < run.result.start_ns for record in truth.records)
    connected = [record for record in run.records() if record.connect_ns is not None]
    assert len(connected) == 40
    assert all(0 < record.connect_ns < record.send_start_ns - begun_ns for record in connected)


def test_open_loop_does_not_open_more_connections_than_it_has_requests(simulate, drive):
    server = simulate()
    drive(server.url, Load(pattern="constant", rate=100.0, requests=3), workers=2)
    server.close()
    assert read_truth(server.log).connections <= 4


def test_the_connection_used_last_is_used_first(wire, drive):
    server = wire()
    drive(server.url, Load(pattern="constant", rate=8.0, requests=5))
    assert {turn.connection for turn in server.turns} == {server.turns[0].connection}
    assert [turn.position for turn in server.turns] == list(range(5))


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(wire, drive):
    def answer(turn):
        turn.write(STREAM)
        turn.close()  # says keep-alive and closes

    server = wire(answer)
    run = drive(server.url, Load(pattern="constant", rate=20.0, requests=5))
    assert run.errors() == {None: 5}
    assert run.result.resent == 0
    assert {turn.position for turn in server.turns} == {0}


@pytest.mark.parametrize("lose", ["close", "reset"])
def test_a_lost_keep_alive_race_is_re_sent_once_and_counted(wire, drive, lose):
    def answer(turn):
        if turn.position:
            getattr(turn, lose)()
        else:
            turn.write(STREAM)

    server = wire(answer)
    run = drive(server.url, ONE_BY_ONE)
    records = run.records()
    assert run.errors() == {None: 3}
    assert [record.resent for record in records] == [False, True, True]
    assert run.result.resent == 2
    for record in records[1:]:
        first, again = [turn for turn in server.turns if turn.header("x-request-id") == record.request_id]
        assert (first.position, again.position) == (1, 0)
        assert first.body == again.body
        assert record.send_start_ns < record.request_sent_ns
        assert record.connect_ns is not None
        # What the race cost is in the latency: it is counted from the first sending.
        assert record.first_byte_ns - record.send_start_ns > record.connect_ns


def test_a_request_that_loses_twice_fails(wire, drive):
    def answer(turn):
        if turn.number == 0:
            turn.write(STREAM)
        else:
            turn.close()

    run = drive(wire(answer).url, Load(pattern="concurrency", concurrency=1, requests=2))
    assert run.errors() == {None: 1, "reset": 1}
    assert run.records()[1].resent


def test_connections_that_end_before_their_first_use_are_replaced_and_fail_nothing(wire, drive):
    """Opened ahead, closed by the server while they waited: seen in time, and nothing is sent twice."""
    server = wire(
        on_accept=lambda number, accepted: accepted.shutdown(socket.SHUT_RDWR) if number < 6 else None
    )
    late = Load(pattern="trace", trace_ns=(200_000_000,) * 6)
    run = drive(server.url, late)
    assert (run.errors(), run.result.resent) == ({None: 6}, 0)
    assert all(turn.connection >= 6 for turn in server.turns)


@pytest.mark.parametrize("lose", ["close", "reset"])
def test_the_race_is_lost_on_a_connection_opened_ahead_as_on_one_used_before(wire, drive, lose):
    """The server closed it at the very moment of its first use."""

    def answer(turn):
        if turn.connection < 4:
            getattr(turn, lose)()
        else:
            turn.write(STREAM)

    run = drive(wire(answer).url, Load(pattern="concurrency", concurrency=4, requests=4))
    assert (run.errors(), run.result.resent) == ({None: 4}, 4)


def test_a_reset_on_a_fresh_connection_or_after_a_byte_is_never_re_sent(wire, drive):
    fresh = wire(lambda turn: turn.reset())
    run = drive(fresh.url, ONE_BY_ONE)
    # Only the first found a connection that had waited for it.
    assert (run.errors(), run.result.resent, len(fresh.turns)) == ({"reset": 3}, 1, 4)

    def answer(turn):
        turn.write(STREAM[:40] if turn.position else STREAM)
        if turn.position:
            turn.reset()

    begun = wire(answer)
    run = drive(begun.url, Load(pattern="concurrency", concurrency=1, requests=2))
    assert (run.errors(), run.result.resent, len(begun.turns)) == ({None: 1, "reset": 1}, 0, 2)


GHOST = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nghost"


@pytest.mark.parametrize("more", [GHOST, b"junk", GHOST[:20]], ids=["another response", "junk", "a part"])
def test_bytes_that_come_with_the_end_of_a_response_are_not_part_of_it(wire, drive, more):
    server = wire(in_pieces(WHOLE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY + more))
    run = drive(server.url, ONE_BY_ONE, streaming=False)
    assert run.errors() == {None: 3}
    assert {text.content for text in run.texts().values()} == {"one two three"}
    assert [turn.position for turn in server.turns] == [0, 0, 0]


def test_bytes_after_the_response_make_the_connection_useless_and_nothing_else(wire, drive):
    def answer(turn):
        turn.write(WHOLE + b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
        time.sleep(0.02)
        turn.write(GHOST)

    server = wire(answer)
    run = drive(server.url, Load(pattern="constant", rate=10.0, requests=3), streaming=False)
    assert run.errors() == {None: 3}
    assert [turn.position for turn in server.turns] == [0, 0, 0]


def test_several_endpoints_take_turns_by_index(wire, drive):
    servers = [wire(), wire(), wire()]
    urls = [f"{server.url}/replica{number}" for number, server in enumerate(servers)]
    run = drive(urls, Load(pattern="concurrency", concurrency=4, requests=30), workers=2)
    assert [len(server.turns) for server in servers] == [10, 10, 10]
    assert all(record.endpoint == record.index % 3 for record in run.records())
    for number, server in enumerate(servers):
        assert {turn.header("host") for turn in server.turns} == {f"127.0.0.1:{server.port}"}
        lines = {turn.head.partition(b"\r\n")[0] for turn in server.turns}
        assert lines == {b"POST /replica%d/v1/chat/completions HTTP/1.1" % number}


def test_one_dead_endpoint_of_several_costs_its_own_share_of_requests(wire, drive):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"http://127.0.0.1:{listener.getsockname()[1]}"
    run = drive([wire().url, dead], Load(pattern="concurrency", concurrency=4, requests=20))
    assert run.errors() == {None: 10, "connect": 10}


def test_a_request_names_its_client_and_accepts_no_compression(wire, drive):
    server = wire()
    run = drive(server.url, ONE_BY_ONE, headers=(("Authorization", "Bearer sesame"),))
    [first, *_] = server.turns
    assert first.header("authorization") == "Bearer sesame"
    assert first.header("accept-encoding") == "identity"
    assert first.header("accept") == "text/event-stream"
    assert first.header("content-type") == "application/json"
    assert int(first.header("content-length")) == len(first.body)
    sent = {turn.header("x-request-id") for turn in server.turns}
    assert sent == {record.request_id for record in run.records()}
    for record, turn in zip(run.records(), server.turns, strict=True):
        assert record.request_bytes == len(turn.head) + 4 + len(turn.body)
    assert all(record.response_bytes == len(STREAM) for record in run.records())


def test_a_server_that_repeats_the_key_puts_it_into_no_file(wire, drive):
    def answer(turn):
        body = f"{'.' * 460} wrong key: {turn.header('authorization')}".encode()
        turn.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    run = drive(
        wire(answer).url, ONE_BY_ONE, headers=(("Authorization", "Bearer sesame"),), secrets=("sesame",)
    )
    assert run.errors() == {"http_status": 3}
    assert run.records()[0].error_detail.endswith("wrong key: Bearer ***")
    for path in run.folder.rglob("*"):
        assert path.is_dir() or b"ses" not in path.read_bytes()


def test_a_body_larger_than_the_socket_takes_at_once_arrives_whole(wire, drive):
    server = wire()
    run = drive(server.url, LONG, padding=4_000_000)
    assert run.errors() == {None: 3}
    assert {len(turn.body) for turn in server.turns} == {len(server.turns[0].body)}
    assert len(server.turns[0].body) > 4_000_000


def test_an_answer_that_came_before_the_body_had_left_costs_the_connection_and_nothing_else(wire, drive):
    server = wire(eager=True)
    run = drive(server.url, LONG, padding=8_000_000)
    assert run.errors() == {None: 3}
    assert [(turn.position, turn.head[:4]) for turn in server.turns] == [(0, b"POST")] * 3


def test_small_writes_leave_at_once(loop):
    """TCP_NODELAY: a request never waits for the acknowledgement of the one before."""

    made = []

    def opened(outcome):
        made.append(outcome)
        loop.stop()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = resolve(parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}"), "/")
        ConnectAttempt(None, loop, target, 0, tls=None, limit_bytes=1, opened=opened)
        loop.run()
    [connection] = made
    assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    connection.discard()


# TLS.


def by_name(server):
    return server.url.replace("127.0.0.1", "localhost")


def test_tls_trusts_what_ssl_cert_file_names(wire, drive, certificate, monkeypatch):
    context, authority = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server = wire(tls=context)
    run = drive(by_name(server), Load(pattern="concurrency", concurrency=3, requests=30), workers=2)
    assert run.errors() == {None: 30}
    assert server.turns[0].header("host") == f"localhost:{server.port}"
    # Connections are reused. A load worker that begins late may find all requests taken.
    assert len({turn.connection for turn in server.turns}) <= 3
    assert all(record.send_start_ns < record.first_content_ns <= record.end_ns for record in run.records())


def test_reads_over_tls_have_the_kernels_stamps_too(wire, drive, certificate, monkeypatch):
    context, authority = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server = wire(in_pieces(CHUNKED, *map(chunk, EVENTS), b"0\r\n\r\n"), tls=context)
    run = drive(by_name(server), ONE_BY_ONE)
    assert run.errors() == {None: 3}
    for record in run.records():
        assert record.send_start_ns < record.first_byte_ns < record.first_content_ns < record.last_content_ns
        assert record.seen_after_ns.first_content > 0
        assert len(record.content_gaps_ns) == 2
    assert run.result.health.user_stamped_reads == 0


def test_a_response_that_ends_with_its_tls_connection_is_whole(wire, drive, certificate, monkeypatch):
    context, authority = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))

    def answer(turn):
        turn.write(HEAD + b"\r\n" + DATA)
        turn.socket.unwrap()

    run = drive(by_name(wire(answer, tls=context)), ONE_BY_ONE)
    assert run.errors() == {None: 3}


def test_an_untrusted_certificate_is_a_connect_failure_with_its_reason(wire, drive, certificate):
    server = wire(tls=certificate[0])
    run = drive(by_name(server), ONE_BY_ONE)
    assert run.errors() == {"connect": 3}
    assert "certificate verify failed" in run.records()[0].error_detail.lower()


def test_a_certificate_for_another_name_is_a_connect_failure(wire, drive, certificate, monkeypatch):
    context, authority = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    run = drive(wire(tls=context).url, ONE_BY_ONE)
    assert run.errors() == {"connect": 3}
    assert "127.0.0.1" in run.records()[0].error_detail


def test_plain_http_to_a_tls_port_and_tls_to_a_plain_one_fail_typed(wire, drive, certificate):
    run = drive(wire(tls=certificate[0]).url.replace("https", "http"), ONE_BY_ONE)
    assert set(run.errors()) <= {"reset", "protocol"}
    run = drive(wire().url.replace("http", "https"), ONE_BY_ONE, timeouts=Timeouts(connect_s=0.2))
    assert run.errors() == {"connect_timeout": 3}
