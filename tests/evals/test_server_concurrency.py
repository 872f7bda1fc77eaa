"""The number of requests in flight, read from the metrics that servers publish."""

from __future__ import annotations

import json

import pytest

from pytest_bench.endpoints.scrape import METRICS_LOG, METRICS_VERSION
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.server_concurrency import server_peak
from pytest_bench.lines import encode_line, header_line

VLLM = {'vllm:num_requests_running{engine="0"}': 3, 'vllm:num_requests_running{engine="1"}': 2}


def log(folder, *readings):
    lines = [encode_line(json.dumps({"label": None, "samples": samples}).encode()) for samples in readings]
    header = header_line(METRICS_LOG, METRICS_VERSION, url="http://h", path="/metrics")
    (folder / f"{METRICS_LOG}.0.jsonl").write_bytes(b"".join([header, *lines]))


@pytest.mark.parametrize(
    ("readings", "peak"),
    [
        ([VLLM, {**VLLM, 'vllm:num_requests_waiting{engine="0"}': 4}, VLLM], 9),
        ([{"sglang:num_running_reqs": 7, "sglang:num_queue_reqs": 1}], 8),
        ([{"llamacpp:requests_processing": 2, "llamacpp:requests_deferred": None}], 2),
        ([None, {"tgi_batch_current_size": 4, "tgi_queue_size": 0}, None], 4),
        ([{"up": 1}, None], None),
        ([], None),
    ],
)
def test_the_peak_is_the_largest_sum_of_running_and_waiting_requests(tmp_path, readings, peak):
    log(tmp_path, *readings)
    assert server_peak(tmp_path).peak == peak


def test_without_a_log_there_is_no_peak(tmp_path):
    assert server_peak(tmp_path).peak is None


def test_a_damaged_log_is_an_error(tmp_path):
    log(tmp_path, VLLM)
    path = tmp_path / f"{METRICS_LOG}.0.jsonl"
    path.write_bytes(path.read_bytes().replace(b"running", b"runninG"))
    with pytest.raises(EvidenceError):
        server_peak(tmp_path)
