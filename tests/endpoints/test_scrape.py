import math
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import Reply, page

from pytest_bench.endpoints.scrape import METRICS_LOG, METRICS_VERSION, MetricsLog, parse_metrics
from pytest_bench.errors import EndpointError
from pytest_bench.lines import LineReader

PAGE = b"""\
# HELP vllm:num_requests_running Requests in flight.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{le="+Inf",path="a}b \\"c\\" \\\\"} 7 1712345678901
process_start_time_seconds 1.7e+09

"""

SAMPLES = {
    'vllm:num_requests_running{engine="0",model_name="m"}': 3.0,
    'vllm:time_to_first_token_seconds_bucket{le="+Inf",path="a}b \\"c\\" \\\\"}': 7.0,
    "process_start_time_seconds": 1.7e9,
}

LABEL_VALUE = st.text().map(
    lambda text: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "")
)
NAME = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True)
LABEL = st.builds('{}="{}"'.format, st.from_regex(r"[a-z_]{1,6}", fullmatch=True), LABEL_VALUE)
SERIES = st.builds(
    lambda name, labels: f"{name}{{{','.join(labels)}}}" if labels else name,
    NAME,
    st.lists(LABEL, max_size=3),
)


def served(text):
    return Reply(200, text, "text/plain; version=0.0.4")


def lines_of(folder):
    reader = LineReader(folder / "metrics.0.jsonl", METRICS_LOG, METRICS_VERSION)
    lines = [msgspec.json.decode(line) for line in reader]
    reader.require_complete()
    return lines


def test_series_are_spelled_as_the_server_spells_them():
    assert parse_metrics(PAGE) == SAMPLES


@given(st.dictionaries(SERIES, st.floats(allow_nan=False), max_size=5))
def test_every_series_is_read_with_its_value(samples):
    text = "".join(f"{series} {value!r}\n" for series, value in samples.items())
    assert parse_metrics(text.encode()) == samples


@given(st.binary(max_size=200))
def test_any_bytes_are_samples_or_an_error(text):
    try:
        parse_metrics(text)
    except EndpointError:
        return


def test_a_value_that_is_not_a_number_is_read_as_one():
    assert math.isnan(parse_metrics(b'q{quantile="0.5"} NaN\n')['q{quantile="0.5"}'])


def test_exemplars_of_openmetrics_are_left_out():
    assert parse_metrics(b'a_bucket{le="1"} 7 # {trace_id="x"} 0.5 1.2\n# EOF\n') == {'a_bucket{le="1"}': 7.0}


@pytest.mark.parametrize(
    "text", [b"a 1\n<html>\n", b"a 1\na{ 2\n", b"a 1\nb one\n", b"a 1\nb 1_000\n", b"a 1\nb\n"]
)
def test_a_line_that_is_not_a_metric_is_an_error_with_its_number(text):
    with pytest.raises(EndpointError, match="line 2"):
        parse_metrics(text)


def test_a_series_given_twice_is_an_error():
    with pytest.raises(EndpointError, match="line 2 gives 'a' a second time"):
        parse_metrics(b"a 1\na 2\n")


def test_a_hostile_line_is_parsed_in_linear_time():
    with pytest.raises(EndpointError):
        parse_metrics(b"a{" + b'"x"' * 200_000 + b"\n")


def test_readings_before_and_after_are_logged_with_their_text(serve, tmp_path):
    server = serve({"GET /metrics": [served(PAGE), served(b"a 2\n")]})
    with MetricsLog(server.url, "/metrics", tmp_path, nonce="n") as log:
        before, after = log.read("before"), log.read("after")
    assert (before.samples, after.samples) == (SAMPLES, {"a": 2.0})
    assert before.asked_ns <= before.answered_ns <= after.asked_ns
    assert [line["label"] for line in lines_of(tmp_path)] == ["before", "after"]
    assert (tmp_path / "metrics.0.before.prom").read_bytes() == PAGE


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(404), "404"),
        (Reply(500, b"boom"), "500 boom"),
        (page(), "not in the Prometheus text format"),
    ],
)
def test_a_server_without_metrics_is_recorded(serve, tmp_path, reply, says):
    server = serve({"GET /metrics": reply})
    with MetricsLog(server.url, "/metrics", tmp_path, nonce="n") as log:
        reading = log.read("before")
    assert reading.samples is None
    assert says in reading.missing
    assert lines_of(tmp_path)[0]["missing"] == reading.missing


def test_a_server_that_has_ended_is_recorded(closed_port, tmp_path):
    with MetricsLog(f"http://127.0.0.1:{closed_port}", "/metrics", tmp_path, nonce="n") as log:
        assert log.read("after").missing == "GET /metrics: connection refused"


def test_values_that_json_cannot_hold_are_null_in_the_log(serve, tmp_path):
    server = serve({"GET /metrics": served(b"a NaN\nb +Inf\nc 1\n")})
    with MetricsLog(server.url, "/metrics", tmp_path, nonce="n") as log:
        log.read("before")
    assert lines_of(tmp_path)[0]["samples"] == {"a": None, "b": None, "c": 1.0}


def test_a_phase_is_followed_from_before_it_to_after_it(serve, tmp_path):
    enough, over, seen = threading.Event(), threading.Event(), []
    server = serve({"GET /metrics": served(b"a 1\n")})
    server.on_request = lambda: enough.set() if len(server.requests) >= 4 else None
    with MetricsLog(server.url, "/metrics", tmp_path, nonce="n") as log:
        follower = threading.Thread(
            target=log.follow, args=(over, 0.005, lambda: seen.append(len(server.requests)))
        )
        follower.start()
        assert enough.wait(10)
        over.set()
        follower.join()
    assert seen == [1]
    labels = [line["label"] for line in lines_of(tmp_path)]
    assert labels == ["before", *[None] * (len(server.requests) - 2), "after"]


def test_without_an_interval_a_phase_is_read_before_and_after_alone(serve, tmp_path):
    server, over = serve({"GET /metrics": served(b"a 1\n")}), threading.Event()
    with MetricsLog(server.url, "/metrics", tmp_path, nonce="n") as log:
        log.follow(over, None, over.set)
    assert [line["label"] for line in lines_of(tmp_path)] == ["before", "after"]


def test_each_endpoint_of_a_deployment_has_its_own_log(serve, tmp_path):
    for endpoint in range(2):
        server = serve({"GET /metrics": served(b"a 1\n")})
        with MetricsLog(server.url, "/metrics", tmp_path, endpoint=endpoint, nonce="n") as log:
            log.read("before")
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.0.jsonl",
        "metrics.0.before.prom",
        "metrics.1.jsonl",
        "metrics.1.before.prom",
    }


def test_a_log_is_never_written_over(serve, tmp_path):
    server = serve()
    with MetricsLog(server.url, "/metrics", tmp_path, nonce="n"):
        pass
    with pytest.raises(FileExistsError):
        MetricsLog(server.url, "/metrics", tmp_path, nonce="n")
