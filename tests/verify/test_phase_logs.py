"""The account of a phase against its request log, for loads that no session here has."""

import msgspec
import pytest

from pytest_bench.errors import EvidenceError
from pytest_bench.lines import encode_line, end_line, header_line
from pytest_bench.load.account import combine
from pytest_bench.load.client_share import ClientShare
from pytest_bench.load.schedule import arrivals_ns
from pytest_bench.records import REQUESTS_VERSION, RequestRecord, WorkerReport
from pytest_bench.verify.logs import contradictions
from pytest_bench.verify.reports import DeclaredLoad
from pytest_bench.workload import HealthBudget, Load

MS = 10**6
START_NS = 10**12
OPEN = Load(pattern="poisson", rate=100.0, requests=50)
CAPPED = Load(pattern="poisson", rate=100.0, requests=50, max_concurrency=1)
SEED = 7


def records_of(late_ms=1):
    return [
        RequestRecord(
            seq=number,
            request_id=f"r{number}",
            index=number,
            sample_index=number,
            scheduled_ns=START_NS + int(at_ns),
            send_start_ns=START_NS + int(at_ns) + late_ms * MS,
            request_sent_ns=START_NS + int(at_ns) + late_ms * MS + 10,
            end_ns=START_NS + int(at_ns) + 20 * MS,
            outcome="succeeded",
        )
        for number, at_ns in enumerate(arrivals_ns(OPEN, SEED))
    ]


def held_records():
    """Each request waits for the end of the one before it."""
    free_ns = None
    for record in records_of():
        record.place_free_ns = free_ns
        record.turnaround_ns = free_ns and 1 * MS
        record.send_start_ns = (free_ns or record.scheduled_ns) + 1 * MS
        record.request_sent_ns = record.send_start_ns + 10
        record.end_ns = free_ns = record.send_start_ns + 200 * MS
        yield record


def written(folder, records, load=OPEN):
    """Write a phase's log as its load worker would; and what the engine says of the phase."""
    share = ClientShare(capped=load.max_concurrency is not None)
    for record in records:
        share.add(record, paced=True)
    report = WorkerReport(
        worker=0,
        issued=len(records),
        succeeded=len(records),
        over=True,
        peak_in_flight=len(records),
        last_completion_ns=max(record.end_ns for record in records),
    )
    share.report(report)
    lines = [encode_line(msgspec.json.encode(record)) for record in records]
    end = end_line(len(lines), report=msgspec.to_builtins(report))
    (folder / "requests.0.jsonl").write_bytes(
        b"".join([header_line("requests", REQUESTS_VERSION), *lines, end])
    )
    return combine([report], load, HealthBudget(), label="main", folder="", start_ns=START_NS)


def found(folder, phase, load=OPEN, *, alone=True):
    declared = DeclaredLoad(load=load, budget=HealthBudget(), alone=alone, order=None, arrival_seed=SEED)
    return list(contradictions(folder, phase, {}, declared))


def test_an_open_loop_phase_agrees_with_its_log(tmp_path):
    phase = written(tmp_path, records_of())
    assert phase.health.violations == ()
    assert found(tmp_path, phase) == []


def test_a_phase_result_that_understates_lateness_is_contradicted_by_the_log(tmp_path):
    phase = written(tmp_path, records_of(late_ms=30))
    assert "requests left 30.0 ms late" in phase.health.violations[0]
    health = msgspec.structs.replace(
        phase.health,
        violations=(),
        schedule_lateness_ms=written(tmp_path, records_of()).health.schedule_lateness_ms,
    )
    written(tmp_path, records_of(late_ms=30))
    said = found(tmp_path, msgspec.structs.replace(phase, health=health))
    assert any(
        "phase.json: health.schedule_lateness_ms.p99 is 1.0; recomputed it is 30.0" in text for text in said
    )
    assert any("phase.json: health.violations[0] is absent" in text for text in said)


def test_a_scheduled_time_that_the_load_does_not_ask_for_is_a_contradiction(tmp_path):
    records = records_of(late_ms=30)
    for record in records:
        record.scheduled_ns = record.send_start_ns
    said = found(tmp_path, written(tmp_path, records))
    assert "requests.*.jsonl: request 0 was scheduled at" in said[0]
    assert said[-1] == "requests.*.jsonl: and 45 more such problems"


@pytest.mark.parametrize("field", ["end_ns", "turnaround_ns"])
def test_a_duration_that_no_request_can_have_is_damage(tmp_path, field):
    records = records_of()
    phase = written(tmp_path, records)
    setattr(records[3], field, 1 << 62)
    lines = [encode_line(msgspec.json.encode(record)) for record in records]
    path = tmp_path / "requests.0.jsonl"
    path.write_bytes(b"".join([header_line("requests", REQUESTS_VERSION), *lines, end_line(len(lines))]))
    with pytest.raises(EvidenceError, match="request 'r3' took or waited for more than"):
        found(tmp_path, phase)


def test_a_phase_in_which_requests_waited_for_a_place_agrees_with_its_log(tmp_path):
    phase = written(tmp_path, list(held_records()), CAPPED)
    assert (phase.health.held, phase.health.schedule_lateness_ms.p99) == (49, 1.0)
    assert phase.health.violations == ()
    assert found(tmp_path, phase, CAPPED) == []


def test_a_place_that_no_request_left_is_a_contradiction(tmp_path):
    """It would hide how late the client was."""
    records = list(held_records())
    records[9].place_free_ns = records[9].send_start_ns
    phase = written(tmp_path, records, CAPPED)
    [said] = found(tmp_path, phase, CAPPED)
    assert "1 requests waited for a place until a time at which no request ended; expected at most 0" in said
    # An overlapping warm-up may have left one place, but not two.
    assert found(tmp_path, phase, CAPPED, alone=False) == []
    records[8].place_free_ns = records[8].send_start_ns
    [said] = found(tmp_path, written(tmp_path, records, CAPPED), CAPPED, alone=False)
    assert "2 requests waited for a place" in said


def test_a_wait_that_the_load_does_not_allow_is_a_contradiction(tmp_path):
    said = found(tmp_path, written(tmp_path, list(held_records())))
    assert "request 1 waited for a place; the load has no 'max_concurrency'" in said[0]


def test_a_wait_that_ended_before_the_schedule_or_after_the_request_is_a_contradiction(tmp_path):
    records = list(held_records())
    records[4].place_free_ns = records[4].send_start_ns + 1
    said = found(tmp_path, written(tmp_path, records, CAPPED), CAPPED)
    assert "request 4 waited for a place until" in said[0]
