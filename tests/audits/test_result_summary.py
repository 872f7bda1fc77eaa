"""The summary that is exported for MLPerf, of records made by hand."""

from __future__ import annotations

import msgspec
import pytest
from exported import exported_summary

from pytest_bench.errors import EvidenceError
from pytest_bench.records import RequestRecord
from pytest_bench.workload import Load

MS = 1_000_000
SECOND = 1000 * MS
SERVER = Load(pattern="poisson", rate=1.0, requests=3)
STEADY = Load(pattern="concurrency", concurrency=1, requests=3)


def request(index, start_ns, gaps_ns, *, first_ns=10 * MS):
    """A stream that begins `first_ns` after `start_ns` and goes on for `gaps_ns`."""
    first = start_ns + first_ns
    last = first + sum(gaps_ns)
    return RequestRecord(
        seq=index,
        request_id=str(index),
        index=index,
        sample_index=index,
        scheduled_ns=start_ns,
        send_start_ns=start_ns,
        first_content_ns=first,
        last_content_ns=last,
        end_ns=last,
        event_count=len(gaps_ns) + 1,
        content_event_count=len(gaps_ns) + 1,
        content_gaps_ns=tuple(gaps_ns),
        outcome="succeeded",
    )


def test_both_rates_of_the_server_scenario_are_over_loadgens_window():
    """Three requests of 100 tokens; the first takes nine seconds, the last issued one completes after three."""
    records = [
        request(0, 0, (9 * SECOND,), first_ns=100 * MS),
        request(1, 1 * SECOND, (SECOND,)),
        request(2, 2 * SECOND, (990 * MS,)),
    ]

    summary = exported_summary(records, SERVER, dict.fromkeys("012", (100, 1)))

    assert summary["legacy_loadgen_window_duration_ns"] == 3 * SECOND
    assert summary["tps"] == 100.0
    assert summary["qps"] == 2 / 3
    assert summary["duration_ns"] == 9.1 * SECOND


def test_outside_open_loop_both_rates_are_over_the_phase():
    records = [request(index, index * SECOND, (490 * MS, 500 * MS)) for index in range(3)]

    summary = exported_summary(records, STEADY, dict.fromkeys("012", (100, 1)))

    assert (summary["qps"], summary["tps"]) == (1.0, 100.0)
    assert "legacy_loadgen_window_duration_ns" not in summary


def test_the_time_per_output_token_stands_beside_that_of_loadgen_and_vllm():
    """Three tokens in each of four chunks, 30 ms apart: 90 ms over 9 tokens, or over 11."""
    records = [request(index, index * SECOND, (30 * MS,) * 3) for index in range(3)]

    summary = exported_summary(records, STEADY, dict.fromkeys("012", (12, 3)))

    assert summary["tpot"]["avg"] == 10 * MS
    assert summary["tpot_loadgen"]["avg"] == pytest.approx(90 * MS / 11)
    assert round(summary["tpot_loadgen"]["median"] / MS, 2) == 8.18


def test_without_token_counts_there_is_neither_a_token_rate_nor_a_time_per_token():
    records = [request(index, index * SECOND, (30 * MS,)) for index in range(3)]

    summary = exported_summary(records, SERVER)

    assert (summary["tps"], summary["tpot"], summary["tpot_loadgen"]) == (None, {}, {})
    assert summary["output_sequence_lengths"] == {}
    assert summary["ttft"]["avg"] == 10 * MS


def test_an_empty_answer_has_no_latency_and_is_completed():
    records = [request(index, index * SECOND, (30 * MS,)) for index in range(3)]
    empty = msgspec.structs.replace(
        records[1], first_content_ns=None, last_content_ns=None, output_empty=True
    )

    summary = exported_summary([records[0], empty, records[2]], STEADY)

    assert (summary["latency"]["total"], summary["n_samples_completed"]) == (80 * MS, 3)


def test_counts_that_are_not_those_of_the_measurement_are_refused():
    records = [request(index, index * SECOND, (30 * MS,)) for index in range(3)]

    with pytest.raises(
        EvidenceError, match=r"output_tokens: 3 values with a mean of 9\.0.*4\.0 in the measurement"
    ):
        exported_summary(
            records, STEADY, dict.fromkeys("012", (4, 1)), other_counts=dict.fromkeys("012", (9, 1))
        )


def test_a_request_of_one_token_has_no_time_per_output_token():
    records = [request(index, index * SECOND, (30 * MS,)) for index in range(3)]

    summary = exported_summary(records, STEADY, {"0": (1, 1), "1": (4, 1), "2": (4, 1)})

    assert summary["tpot"]["total"] == summary["tpot_loadgen"]["total"] == 20 * MS
