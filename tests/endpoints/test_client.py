"""An exchange ends when its time is up, whatever the server sends, and holds no more than its limit."""

import contextlib
import itertools
import logging
import socket
import threading

import pytest
from scripted_server import Reply

from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Answer, Client, NoAnswer
from pytest_bench.endpoints.headers import NO_HEADERS, Headers
from pytest_bench.redaction import hide


@pytest.fixture
def raw_server():
    """Sends what a test's generator yields, a piece each 20 ms, until the client hangs up."""
    with contextlib.ExitStack() as stack:

        def start(pieces):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            over = threading.Event()

            def run():
                with contextlib.suppress(OSError), listener.accept()[0] as connection:
                    connection.recv(65536)
                    for piece in pieces:
                        connection.sendall(piece)
                        if over.wait(0.02):
                            break

            thread = threading.Thread(target=run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(over.set)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start


def exchange(url, headers=NO_HEADERS, **options):
    client = Client(parse_url(url), headers)
    return client.exchange("GET", "/metrics", **{"timeout_s": 0.3, **options})


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        (itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer within 0.3 s"),
        ((bytes([byte]) for byte in itertools.cycle(b"HTTP/1.1 200 OK\r\n")), "no answer within 0.3 s"),
        (itertools.chain([HEAD], itertools.repeat(b"X-More: 1\r\n")), "no answer within 0.3 s"),
        (
            itertools.chain([HEAD + b"Content-Length: 999999\r\n\r\n"], itertools.repeat(b"x")),
            "answered 200, not complete within 0.3 s",
        ),
        (
            itertools.chain([HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], itertools.repeat(b"1\r\nx\r\n")),
            "answered 200, not complete within 0.3 s",
        ),
    ],
    ids=["100 Continue without end", "a status line by bytes", "headers", "a body by bytes", "chunks"],
)
def test_a_server_that_never_stops_sending_is_cut_off_when_the_time_is_up(raw_server, pieces, reason):
    assert exchange(raw_server(pieces)) == NoAnswer(reason, "silent")


def test_a_header_without_end_is_cut_off(raw_server):
    found = exchange(
        raw_server(itertools.chain([HEAD + b"X: "], itertools.repeat(b"x" * 65536))), timeout_s=10
    )
    assert isinstance(found, NoAnswer)
    assert (found.cause, found.reason[:19]) == ("no-http", "not valid HTTP/1.1:")


def test_a_body_over_the_limit_is_not_an_answer(serve):
    server = serve({"GET /metrics": Reply(200, b"x" * 5000)})
    found = exchange(server.url, timeout_s=10, limit_bytes=4999)
    assert found == NoAnswer("answered 200 with over 4999 bytes", "endless", final=True)
    assert isinstance(exchange(server.url, timeout_s=10, limit_bytes=5000), Answer)


def test_every_url_carries_the_query(serve):
    server = serve({"GET /team/metrics?api-version=1": Reply(200, b"ok")})
    assert exchange(f"{server.url}/team", Headers(query="api-version=1"), timeout_s=10).body == b"ok"


def test_cookies_of_a_server_are_not_sent_back(serve):
    server = serve({"GET /metrics": Reply(headers={"Set-Cookie": "session=1"})})
    client = Client(parse_url(server.url), NO_HEADERS)
    for _ in range(2):
        client.exchange("GET", "/metrics", timeout_s=10)
    assert not [sent for _, sent, _ in server.requests if "Cookie" in sent]


def test_the_log_of_the_http_client_shows_no_secret(serve, caplog):
    hide(["sk-in-a-header-of-the-server"])
    server = serve({"GET /metrics": Reply(headers={"X-Echo": "sk-in-a-header-of-the-server"})})
    with caplog.at_level(logging.DEBUG):
        exchange(server.url, timeout_s=10)
    assert "receive_response_headers.complete" in caplog.text
    assert "X-Echo" in caplog.text
    assert "sk-in-a-header" not in caplog.text
