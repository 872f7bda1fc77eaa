"""The ground-truth log says what was on the wire."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import msgspec
import pytest
from wire_client import encode, until

from pytest_bench.errors import EvidenceError
from pytest_bench.simulator import read_truth
from pytest_bench.simulator.truth import TRUTH_VERSION, TruthRecord

CHAT = {
    "model": "simulated",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 3,
    "stream": True,
}
PATH = "/v1/chat/completions"


def test_the_stamps_of_a_request_are_in_order_and_within_its_life(simulate, truth_of):
    measured = simulate(ttft_ms=20.0, itl_ms=5.0)
    before = time.monotonic_ns()
    measured.chat(x_request_id="mine")
    after = time.monotonic_ns()
    [record] = truth_of(measured).records
    life = [
        before,
        record.accept_ns,
        record.first_request_byte_ns,
        record.last_request_byte_ns,
        *record.write_ns,
        after,
    ]
    assert life == sorted(life)
    assert record.request_id == "mine"
    assert record.path == PATH


def test_writes_are_never_early(simulate, truth_of):
    measured = simulate(ttft_ms=20.0, itl_ms=5.0)
    measured.chat()
    [record] = truth_of(measured).records
    role, *contents, tail = record.write_ns
    due = [record.start_ns + (20 + 5 * number) * 1_000_000 for number in range(4)]
    assert role >= record.start_ns
    assert all(stamp >= target for stamp, target in zip(contents, due, strict=True))
    assert (record.first_content_ns, record.last_content_ns) == (contents[0], contents[-1])
    assert tail >= contents[-1]


def test_tokens_that_were_written_are_counted_under_faults_too(simulate, truth_of):
    measured = simulate()
    measured.chat()
    measured.chat(x_sim_fault="truncated")
    measured.chat(x_sim_fault="refuse")
    assert [record.tokens for record in truth_of(measured).records] == [4, 2, 0]


def test_requests_in_flight_are_counted_with_their_peak(simulate, truth_of):
    measured = simulate(ttft_ms=100.0)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda number: measured.chat(str(number)), range(5)))
    truth = truth_of(measured)
    assert sorted(record.in_flight for record in truth.records) == [1, 2, 3, 4, 5]
    assert truth.peak_in_flight == 5


def test_a_client_that_waits_for_the_end_is_never_counted_twice(simulate, truth_of):
    measured = simulate()
    with measured.connect() as connection:
        for _ in range(200):
            connection.sendall(encode(PATH, CHAT))
            raw = b""
            while not raw.endswith(b"\r\n0\r\n\r\n"):
                raw += connection.recv(65536)
    truth = truth_of(measured)
    assert truth.peak_in_flight == 1
    assert {record.connection for record in truth.records} == {0}
    assert truth.connections == 1


def test_256_streams_at_once_are_all_served_to_their_end(simulate, truth_of):
    measured = simulate(ttft_ms=300.0, itl_ms=2.0)
    with ExitStack() as open_until_then:
        connections = [open_until_then.enter_context(measured.connect()) for _ in range(256)]
        for connection in connections:
            connection.sendall(encode(PATH, {**CHAT, "max_tokens": 20}))
        for connection in connections:
            raw = b""
            while not raw.endswith(b"\r\n0\r\n\r\n"):
                raw += connection.recv(65536)
    truth = truth_of(measured)
    assert truth.peak_in_flight == 256
    assert [record.tokens for record in truth.records] == [20] * 256


def test_a_fault_that_could_not_be_injected_is_not_reported(simulate, truth_of):
    measured = simulate(fault={"reset": 1.0})
    measured.chat(body={"model": "gpt-9"})
    assert [record.fault for record in truth_of(measured).records] == [None]


def test_a_client_that_leaves_early_is_distinguished_from_one_that_stays(simulate, truth_of):
    measured = simulate(itl_ms=50.0)
    with measured.connect() as connection:
        connection.sendall(encode(PATH, CHAT))
        connection.recv(4096)
    until(lambda: measured.metrics()["simulator_requests_in_flight"] == 0)
    [record] = truth_of(measured).records
    assert record.aborted
    assert 0 < len(record.write_ns) < 5


def test_what_an_unfinished_log_holds_can_be_read(simulate):
    measured = simulate()
    measured.chat()
    until(lambda: len(read_truth(measured.simulator.log).records) == 1)
    assert read_truth(measured.simulator.log).peak_in_flight is None


def test_requests_that_are_refused_are_in_the_log_and_probes_are_not(simulate, truth_of):
    measured = simulate()
    measured.http.get("/health")
    measured.chat(body={"model": "gpt-9"})
    [record] = truth_of(measured).records
    assert (record.status, record.tokens) == (404, 0)


def test_the_header_states_the_behaviour(simulate, truth_of):
    assert truth_of(simulate(ttft_ms=3.0)).behaviour["ttft_ms"] == 3.0


def test_the_wire_format_of_a_record_is_this():
    record = TruthRecord(
        number=0,
        request_id="r",
        path=PATH,
        connection=2,
        accept_ns=1,
        first_request_byte_ns=2,
        last_request_byte_ns=3,
        start_ns=3,
        first_byte_ns=10,
        write_gaps_ns=[5, 5],
        content_write=1,
        last_content_write=2,
        in_flight=1,
        status=200,
        fault="truncated",
        framings=["crlf"],
        tokens=2,
    )
    assert TRUTH_VERSION == 1
    assert msgspec.json.encode(record) == (
        b'{"kind":"request","number":0,"request_id":"r","path":"/v1/chat/completions","connection":2,"accept_ns":1,'
        b'"first_request_byte_ns":2,"last_request_byte_ns":3,"start_ns":3,"first_byte_ns":10,"write_gaps_ns":[5,5],'
        b'"content_write":1,"last_content_write":2,"in_flight":1,"status":200,"fault":"truncated",'
        b'"framings":["crlf"],"tokens":2}'
    )
    assert (record.write_ns, record.first_content_ns, record.last_content_ns) == ([10, 15, 20], 15, 20)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"kind":"end","requests":0,"connections":0,"peak_in_flight":0}\n',
        b'{"kind":"header","version":9,"clock":"","pid":1,"behaviour":{}}\n',
        b'{"kind":"header","version":1,"clock":"","pid":1,"behaviour":{}}\n{"kind":"request"}\n',
    ],
)
def test_a_file_that_is_not_a_log_is_refused(tmp_path, content):
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(EvidenceError, match="log"):
        read_truth(path)
