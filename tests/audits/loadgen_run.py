"""Run MLPerf's LoadGen once in a process of its own: `python loadgen_run.py SCENARIO TOKENS FOLDER`.

Leaves LoadGen's own logs in FOLDER: its results, and a trace with the times of every sample. The system under test
answers after random delays. Sample i has `token_count(i)` tokens.
"""

from __future__ import annotations

import array
import importlib
import queue
import random
import sys
import threading
import time

REQUESTS = 700
"""Enough for an early-stopping estimate of p99, which takes 662."""
SAMPLES = 32
THREADS = 4


def token_count(sample: int) -> int:
    return 2 + sample % 29


def main(scenario: str, folder: str, *, tokens: bool) -> None:
    # Tests import this module for its constants, also where LoadGen has no wheel.
    mlperf_loadgen = importlib.import_module("mlperf_loadgen")
    random_delay = random.Random(1)
    buffer = array.array("i", [7])
    address, _ = buffer.buffer_info()
    waiting: queue.SimpleQueue = queue.SimpleQueue()

    def serve():
        while (sample := waiting.get()) is not None:
            time.sleep(random_delay.uniform(0, 0.0005))
            if tokens:
                mlperf_loadgen.FirstTokenComplete([mlperf_loadgen.QuerySampleResponse(sample.id, address, 4)])
                time.sleep(random_delay.uniform(0.0001, 0.0005))
            mlperf_loadgen.QuerySamplesComplete(
                [mlperf_loadgen.QuerySampleResponse(sample.id, address, 4, token_count(sample.index))]
            )

    threads = [threading.Thread(target=serve) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = getattr(mlperf_loadgen.TestScenario, scenario)
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = 0
    settings.min_query_count = settings.max_query_count = REQUESTS
    settings.offline_expected_qps = REQUESTS
    settings.server_target_qps = 1500
    settings.server_target_latency_ns = settings.ttft_latency = settings.tpot_latency = 10**10
    settings.use_token_latencies = tokens
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = folder
    logs = mlperf_loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = True
    system = mlperf_loadgen.ConstructSUT(lambda found: [waiting.put(each) for each in found], lambda: None)
    library = mlperf_loadgen.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
    mlperf_loadgen.StartTestWithLogSettings(system, library, settings, logs, "")
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3], tokens=sys.argv[2] == "tokens")
