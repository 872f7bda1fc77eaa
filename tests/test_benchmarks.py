"""The instruments of the benchmarks: the server, the accounting of processes, the statistics, the table."""

import json
import shutil
import sys
import time
import urllib.request

import numpy as np
import pytest

from benchmarks.figures import Table
from benchmarks.openloop import dispersion_z, exponential_p
from benchmarks.process import run
from benchmarks.server import EVENTS, Server
from pytest_bench.errors import LoadError

compiled = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def ask(server, *, stream, request_id=""):
    body = json.dumps({"model": "mock", "stream": stream, "messages": []}).encode()
    headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
    request = urllib.request.Request(f"{server.url}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read()


@compiled
def test_a_stream_has_every_event_and_says_how_it_ended(tmp_path):
    with Server(tmp_path) as server:
        lines = ask(server, stream=True).decode().split("\n\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    texts = [event["choices"][0]["delta"]["content"] for event in events]
    assert sum(1 for text in texts if text) == EVENTS
    assert events[-1]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["usage"]["completion_tokens"] == EVENTS
    assert lines[-2:] == ["data: [DONE]", ""]


@compiled
def test_an_answer_that_is_not_streamed_holds_the_same_text(tmp_path):
    with Server(tmp_path, events=3) as server:
        answer = json.loads(ask(server, stream=False))
    assert answer["choices"][0]["message"]["content"] == " the model answers"


@compiled
def test_paced_events_follow_the_clock_and_stamps_say_so(tmp_path):
    with Server(tmp_path, paced=True, events=5) as server:
        ask(server, stream=True, request_id="r-1")
        (stamp,) = server.stop()
    assert stamp["id"] == b"r-1"
    assert stamp["first_ns"] - stamp["arrival_ns"] >= 50_000_000
    assert stamp["last_ns"] - stamp["arrival_ns"] >= 90_000_000


@compiled
def test_a_request_cut_off_by_the_client_leaves_no_stamp(tmp_path):
    with Server(tmp_path, paced=True) as server:
        request = urllib.request.Request(f"{server.url}/v1/chat/completions", b'{"stream": true}')
        urllib.request.urlopen(request, timeout=10).close()
        ask(server, stream=False, request_id="whole")
        assert [stamp["id"] for stamp in server.stop()] == [b"whole"]


def test_cpu_time_of_a_process_that_outlives_its_parent_counts(tmp_path):
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    before_ns = time.monotonic_ns()
    cost = run([sys.executable, "-c", orphan], folder=tmp_path)
    assert cost.cpu_s >= 0.3
    assert before_ns < cost.started_ns < cost.ended_ns < time.monotonic_ns()


def test_a_failing_command_is_an_error_with_the_end_of_its_output(tmp_path):
    with pytest.raises(LoadError, match=r"ended with status 3.*\n.*goodbye"):
        run([sys.executable, "-c", "print('goodbye'); raise SystemExit(3)"], folder=tmp_path)


def test_a_command_that_takes_too_long_is_ended(tmp_path):
    with pytest.raises(LoadError, match="took longer than 1 s"):
        run(["sleep", "60"], folder=tmp_path, seconds=1)


def test_poisson_arrivals_pass_both_tests_and_even_or_bursty_ones_fail():
    gaps_ns = np.random.default_rng(7).exponential(1e6, 60_000)
    even = np.arange(60_000, dtype=np.int64) * 1_000_000
    poisson = np.cumsum(gaps_ns).astype(np.int64)
    bursty = np.repeat(poisson, 2)[:60_000]
    assert exponential_p(np.diff(poisson), 1000.0) >= 0.01
    assert abs(dispersion_z(poisson)) <= 2.58
    assert exponential_p(np.diff(even), 1000.0) < 0.01
    assert dispersion_z(even) < -2.58
    assert dispersion_z(bursty) > 2.58


def test_the_table_judges_medians_and_keeps_a_work_together():
    table = Table()
    for value in (1.0, 9.0, 2.0):
        table.add("first", "ratio", "ratio", value, "<= 3")
        table.add("second", "rate", "requests/s", 12_345.0)
        table.add("first", "share", "ratio", value / 10, ">= 0.97")
    assert [(figure.name, figure.held) for figure in table.figures] == [
        ("ratio", True),
        ("share", False),
        ("rate", None),
    ]
    assert "12,345" in str(table)
