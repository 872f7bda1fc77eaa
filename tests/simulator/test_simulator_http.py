"""HTTP itself, and what the server tells besides output."""

import pytest
from wire_client import Answer, encode, text, until

CHAT = {
    "model": "simulated",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 2,
    "stream": True,
}
PATH = "/v1/chat/completions"


def read_answers(connection, count):
    """So many chunked answers off one connection."""
    raw = b""
    while raw.count(b"\r\n0\r\n\r\n") < count:
        raw += connection.recv(65536)
    return [Answer(part + b"\r\n0\r\n\r\n") for part in raw.split(b"\r\n0\r\n\r\n")[:count]]


def test_responses_identify_the_simulator(client):
    version = client.http.get("/version")
    assert version.json()["server"] == version.headers["server"] == "pytest-bench-simulator"


def test_it_lists_its_model(client):
    assert [model["id"] for model in client.http.get("/v1/models").json()["data"]] == ["simulated"]


def test_it_is_healthy(client):
    assert client.http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", PATH, 405),
        ("POST", "/health", 405),
        ("GET", "/v1/videos/job-99", 404),
    ],
)
def test_unknown_paths_and_methods_are_refused(client, method, path, status):
    assert client.http.request(method, path).status_code == status


def test_a_probe_can_find_no_health_and_broken_models(simulate):
    bare = simulate(no_health=True, no_models=True)
    assert bare.http.get("/health").status_code == 404
    assert bare.http.get("/v1/models").status_code == 500
    assert bare.chat().status == 200


def test_the_reported_version_can_be_set(simulate):
    assert simulate(reported_version="9.9").http.get("/version").json()["version"] == "9.9"


def test_requests_need_the_key_if_one_is_set(simulate, monkeypatch):
    monkeypatch.setenv("SIMULATOR_KEY", "secret")
    locked = simulate(api_key_env="SIMULATOR_KEY")
    assert locked.chat().status == 401
    assert locked.chat(authorization="Bearer wrong").status == 401
    assert locked.chat(authorization="Bearer secret").status == 200
    assert locked.http.get("/v1/models").status_code == 401
    assert locked.http.get("/health").status_code == 200


def test_a_connection_serves_one_request_after_the_other(client):
    with client.connect() as connection:
        for _ in range(3):
            connection.sendall(encode(PATH, CHAT))
            [answer] = read_answers(connection, 1)
            assert answer.status == 200


def test_pipelined_requests_are_answered_in_order(client):
    with client.connect() as connection:
        connection.sendall(b"".join(encode(PATH, CHAT, x_request_id=name) for name in "abc"))
        heads = [answer.head for answer in read_answers(connection, 3)]
    assert [head.split(b"x-request-id: ")[1][:1] for head in heads] == [b"a", b"b", b"c"]


def test_a_thousand_pipelined_requests_do_not_recurse(client):
    with client.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" * 1500)
        raw = b""
        while raw.count(b"HTTP/1.1 200 OK") < 1500:
            raw += connection.recv(1 << 20)


def test_a_request_may_come_byte_by_byte(client):
    with client.connect() as connection:
        for byte in encode(PATH, CHAT):
            connection.sendall(bytes([byte]))
        [answer] = read_answers(connection, 1)
    assert answer.status == 200


def test_a_client_that_expects_100_continue_gets_it(client):
    head, _, body = encode(PATH, CHAT, expect="100-continue").partition(b"\r\n\r\n")
    with client.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answers(connection, 1)[0].status == 200


def test_what_is_not_http_is_answered_400_and_closed(client):
    answer = client.raw(b"hello, is anybody there?\r\n\r\n")
    assert answer.status == 400


def test_a_connection_is_closed_if_the_client_requests_it(client):
    answer = client.chat(connection="close")
    assert b"connection: close" in answer.head


def test_a_third_party_client_library_reads_its_streams(client):
    with client.http.stream("POST", PATH, json=CHAT) as answer:
        body = answer.read()
    assert len(text(body).split()) == 2


def test_metrics_count_the_requests(simulate):
    counted = simulate()
    for _ in range(3):
        counted.chat()
    counted.chat(x_sim_fault="http_500")
    metrics = counted.metrics()
    assert metrics["simulator_requests_total"] == metrics["simulator_requests_ended_total"] == 4
    assert metrics["simulator_requests_in_flight"] == 0
    assert metrics["simulator_requests_in_flight_peak"] == 1
    assert metrics["simulator_output_tokens_total"] == 12
    assert metrics['simulator_faults_total{fault="http_500"}'] == 1


def test_a_client_that_reads_late_gets_every_byte(simulate):
    """The kernel's buffers fill: what follows waits, and comes in order."""
    slow = simulate()
    with slow.connect() as connection:
        connection.sendall(encode(PATH, {**CHAT, "max_tokens": 60_000}, connection="close"))
        until(lambda: slow.metrics()["simulator_requests_in_flight"] == 1)
        received = []
        while data := connection.recv(1 << 20):
            received.append(data)
    assert len(text(Answer(b"".join(received)).body).split()) == 60_000
