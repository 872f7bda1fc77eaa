"""Each fault as a client meets it."""

import msgspec
import pytest
from wire_client import Answer, chunks, encode, payloads, text, until

from pytest_bench.simulator.behaviour import FAULTS, FRAMINGS

CHAT = {"model": "simulated", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def chat(*, stream=True, **headers):
    return encode("/v1/chat/completions", {**CHAT, "stream": stream}, **headers)


def struck(client, fault, **headers):
    return client.raw(chat(x_sim_fault=fault, **headers))


def is_silent(connection):
    """Whether the connection is open, and nothing comes."""
    connection.settimeout(0.1)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    return False


def test_refuse_closes_without_a_byte(client):
    answer = struck(client, "refuse")
    assert (answer.raw, answer.reset) == (b"", False)


def test_reset_breaks_off_a_stream(client):
    answer = struck(client, "reset", x_sim_itl_ms=10)
    assert answer.reset
    assert len(text(answer.body).split()) == 2


def test_reset_breaks_off_a_body(client):
    answer = struck(client, "reset", stream=False, x_sim_itl_ms=10)
    assert answer.reset
    assert answer.body.startswith(b'{"id"')


@pytest.mark.parametrize(("after", "words"), [(0, 0), (3, 3), (99, 4)])
def test_stall_stops_after_the_configured_number_of_content_events(client, after, words):
    with client.connect() as connection:
        connection.sendall(chat(x_sim_fault="stall", x_sim_fault_after=after))
        answer = Answer(b"")
        while b"role" not in answer.raw or len(text(answer.body).split()) < words:
            answer.raw += connection.recv(65536)
        assert is_silent(connection)
    assert len(text(answer.body).split()) == words


def test_stall_falls_silent_in_the_middle_of_a_body(client):
    with client.connect() as connection:
        connection.sendall(chat(stream=False, x_sim_fault="stall"))
        raw = b""
        while b'"id"' not in raw:
            raw += connection.recv(65536)
        assert is_silent(connection)


def test_truncated_ends_cleanly_without_a_reason(client):
    answer = struck(client, "truncated")
    assert answer.raw.endswith(b"\r\n0\r\n\r\n")
    assert b"[DONE]" not in answer.body
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks(answer.body)} == {None}


def test_malformed_has_one_event_that_is_not_json(client):
    *events, done = payloads(struck(client, "malformed").body)
    broken = []
    for number, data in enumerate(events):
        try:
            msgspec.json.decode(data)
        except msgspec.DecodeError:
            broken.append(number)
    assert (broken, done) == ([3], b"[DONE]")


@pytest.mark.parametrize("fault", ["malformed", "truncated"])
def test_a_malformed_body_is_whole_http_and_no_json(client, fault):
    answer = struck(client, fault, stream=False, connection="close")
    assert f"content-length: {len(answer.body)}".encode() in answer.head
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answer.body)


def test_stream_error_puts_an_error_object_into_the_stream(client):
    answer = struck(client, "stream_error")
    *_, last = chunks(answer.body)
    assert answer.status == 200
    assert "stream_error" in last["error"]["message"]
    assert payloads(answer.body)[-1] == b"[DONE]"


def test_stream_error_puts_an_error_object_into_a_body(client):
    answer = struck(client, "stream_error", stream=False, connection="close")
    assert answer.status == 200
    assert "error" in msgspec.json.decode(answer.body)


def test_an_error_event_ends_the_content_of_a_stream(client):
    body = struck(client, "error_event").body
    assert b'event: error\ndata: {"detail":"injected fault: error_event"}\n\ndata: [DONE]\n\n' in body
    assert len(text(body.partition(b"event: error")[0]).split()) == 2


def test_an_error_field_ends_the_content_of_a_stream(client):
    body = struck(client, "error_field").body
    assert b'error: {"error":{"message":"injected fault: error_field"' in body
    assert body.endswith(b"}\n\ndata: [DONE]\n\n")


def test_unseparated_events_have_single_newlines(client):
    body = struck(client, "unseparated").body
    assert b"\n\n" not in body
    assert body.endswith(b"}\ndata: [DONE]\n")


def test_keep_alives_come_before_every_event(client):
    body = struck(client, "keep_alives").body
    assert body.count(b"data:\n\ndata: null\n\ndata: ") == len(payloads(client.chat().body))


def test_an_untyped_stream_has_no_content_type(client):
    assert b"content-type" not in struck(client, "untyped").head


@pytest.mark.parametrize(("fault", "status"), [("http_429", 429), ("http_500", 500), ("http_503", 503)])
def test_a_refusal_by_status_has_a_retry_after_header(client, fault, status):
    answer = struck(client, fault, x_sim_retry_after_s=7, connection="close")
    assert answer.status == status
    assert b"retry-after: 7\r\n" in answer.head


def test_redirect_points_to_the_same_path(client):
    answer = struck(client, "redirect", connection="close")
    assert answer.status == 307
    assert b"location: /v1/chat/completions\r\n" in answer.head


@pytest.mark.parametrize("stream", [True, False])
def test_content_length_announces_more_than_comes(client, stream):
    answer = struck(client, "content_length", stream=stream)
    announced = int(answer.head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert announced == len(answer.body) + 64
    assert not answer.reset


def test_an_empty_answer_is_well_formed(client):
    answer = struck(client, "empty")
    assert text(answer.body) == ""
    assert payloads(answer.body)[-1] == b"[DONE]"
    assert chunks(answer.body)[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("framing", FRAMINGS)
def test_odd_framing_changes_no_content(client, framing):
    assert text(struck(client, framing, x_sim_drip_ms=0).body) == text(client.chat().body)


def test_packets_of_a_torn_write_arrive_apart(client):
    with client.connect() as connection:
        connection.sendall(chat(x_sim_fault="drip"))
        sizes = [len(connection.recv(65536)) for _ in range(50)]
    assert max(sizes) < 60


def test_faults_can_be_mixed_and_their_number_is_the_same_in_every_run(simulate, truth_of):
    seen = []
    for _ in range(2):
        mixed = simulate(fault={"refuse": 0.2, "http_500": 0.2, "truncated": 0.2, "crlf": 0.5})
        for _ in range(40):
            mixed.chat()
        seen.append([(record.fault, record.framings) for record in truth_of(mixed).records])
    assert seen[0] == seen[1]
    assert {fault for fault, _ in seen[0]} == {None, "refuse", "http_500", "truncated"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "stall"])
def test_no_fault_leaves_a_request_in_flight(client, fault):
    struck(client, fault, connection="close")
    assert client.metrics()["simulator_requests_in_flight"] == 0


def test_a_stalled_request_is_in_flight_until_its_client_leaves(simulate, truth_of):
    stalling = simulate()
    with stalling.connect() as connection:
        connection.sendall(chat(x_sim_fault="stall"))
        connection.recv(65536)
        assert stalling.metrics()["simulator_requests_in_flight"] == 1
    until(lambda: stalling.metrics()["simulator_requests_in_flight"] == 0)
    [record] = truth_of(stalling).records
    assert (record.fault, record.aborted) == ("stall", True)
