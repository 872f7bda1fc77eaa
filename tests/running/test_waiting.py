"""What is told while an endpoint does not get ready."""

import queue
import re

import pytest

from pytest_bench.plugin.progress import describe_wait
from pytest_bench.running import waiting
from pytest_bench.running.waiting import Waiting, reporting_progress

URL = "http://model:8000"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(waiting, "_SILENT_S", 0.01)
    monkeypatch.setattr(waiting, "_EVERY_S", 0.01)


def test_the_time_left_and_the_last_answer_are_reported_repeatedly():
    told = queue.Queue()
    with reporting_progress(URL, 60, told.put) as note:
        first = told.get(timeout=10)
        note("GET /health: 503")
        while (later := told.get(timeout=10)).answer is None:
            pass
    assert (first.url, first.answer, later.answer) == (URL, None, "GET /health: 503")
    assert 0 < later.left_s < first.left_s < 60


def test_nothing_is_reported_once_the_wait_is_over():
    told = queue.Queue()
    with pytest.raises(KeyboardInterrupt), reporting_progress(URL, 60, told.put):
        told.get(timeout=10)
        raise KeyboardInterrupt
    count = told.qsize()
    assert not [thread for thread in waiting.threading.enumerate() if URL in thread.name]
    assert told.qsize() == count


def test_no_progress_is_reported_if_the_server_answers_soon(monkeypatch):
    monkeypatch.setattr(waiting, "_SILENT_S", 60.0)
    told = queue.Queue()
    with reporting_progress(URL, 60, told.put):
        pass
    assert told.empty()


def test_the_line_states_the_endpoint_the_time_left_and_the_last_answer():
    line = describe_wait(Waiting(URL, 83.0, "GET /health: connection refused (9 times)"))
    assert line == f"waiting for {URL}: 1 min 23 s left; GET /health: connection refused (9 times)"
    assert describe_wait(Waiting(URL, 5.0, None)) == f"waiting for {URL}: 5 s left; no answer yet"


def test_text_of_a_server_is_encoded_for_any_terminal():
    line = describe_wait(Waiting(URL, 5.0, "GET /health: 503 l\N{LATIN SMALL LETTER A WITH DIAERESIS}dt…"))
    assert re.fullmatch(r"[ -~]+", line)
