"""Each single alteration is detected: in the files of the session, in logs, in the JUnit file."""

from __future__ import annotations

import json
import shutil

import pytest
from tampering import (
    AUDIT,
    REQUESTS,
    STEADY,
    TWO,
    edit,
    edit_events,
    edit_header,
    edit_lines,
    edit_report,
    relist,
)

from pytest_bench.files import canonical_json, readable_json
from pytest_bench.lines import encode_line
from pytest_bench.verify import verify_session


@pytest.fixture(scope="module")
def spoiled(finished, tmp_path_factory):
    """A copy of a session that passed; each example puts back what it alters."""
    return shutil.copytree(finished, tmp_path_factory.mktemp("spoiled") / "results")


def leaves(value, path=()):
    """Paths of every scalar, and of every empty list or object, in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner:
        yield path
    for name, part in inner:
        yield from leaves(part, (*path, name))


def another(value):
    """A value of the same type that is not the same; of something empty, one with something in it."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case None:
            return "x"
        case []:
            return ["x"]
    return {"x": "x"}


@pytest.mark.parametrize("name", ["plan.json", "verdict.json", "environment.json"])
def test_no_field_of_a_file_of_the_session_can_change(spoiled, name):
    path = spoiled / name
    before = path.read_bytes()
    unnoticed = []
    try:
        for *way, last in leaves(json.loads(before)):
            content = part = json.loads(before)
            for step in way:
                part = part[step]
            part[last] = another(part[last])
            path.write_bytes(readable_json(content))
            if verify_session(spoiled).sound:
                unnoticed.append((*way, last))
    finally:
        path.write_bytes(before)
    assert unnoticed == []
    assert verify_session(spoiled).sound


def test_no_field_of_an_event_can_change_even_if_its_checksum_is_right(spoiled):
    path = spoiled / "events/main.jsonl"
    before = path.read_bytes()
    header, *lines, end = before.splitlines(keepends=True)
    unnoticed = []
    try:
        for number, line in enumerate(lines):
            event = json.loads(line)
            del event["crc"]
            for *way, last in leaves(event):
                changed = part = json.loads(json.dumps(event))
                for step in way:
                    part = part[step]
                part[last] = another(part[last])
                lines[number] = encode_line(canonical_json(changed))
                path.write_bytes(b"".join([header, *lines, end]))
                if verify_session(spoiled).sound:
                    unnoticed.append((number, *way, last))
            lines[number] = line
    finally:
        path.write_bytes(before)
    assert unnoticed == []


def test_no_byte_of_any_file_of_a_point_can_change(spoiled):
    unnoticed = []
    for path in sorted(path for path in (spoiled / "points").rglob("*") if path.is_file()):
        before = path.read_bytes()
        for place in (0, len(before) // 2, len(before) - 1):
            path.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
            if verify_session(spoiled).sound:
                unnoticed.append((path.name, place))
        path.write_bytes(before)
    assert unnoticed == []


def tampered(results, verify, point, path, change):
    """Alter a log of a point, let evidence and verdict list what it holds now, and verify."""
    edit_lines(results / point / path, change)
    relist(results, point)
    status, said = verify(results)
    assert status == 1
    return said


def test_two_requests_with_one_id_are_red(results, verify):
    def copy_id(records):
        records[3]["request_id"] = records[2]["request_id"]

    for point, phase in ((STEADY, "measured"), (AUDIT, "reference")):
        said = tampered(results, verify, point, f"phases/{phase}/requests.0.jsonl", copy_id)
        assert f"{point}/phases/{phase}/requests.*.jsonl: two requests have the request_id" in said


def test_two_requests_with_one_index_are_red(results, verify):
    def copy_index(records):
        records[3]["index"] = records[2]["index"]

    assert "two requests have the index 2" in tampered(results, verify, STEADY, REQUESTS, copy_index)


def test_a_request_that_sent_a_sample_out_of_order_is_red(results, verify):
    def swap(records):
        records[0]["sample_index"], records[1]["sample_index"] = (
            records[1]["sample_index"],
            records[0]["sample_index"],
        )

    said = tampered(results, verify, STEADY, REQUESTS, swap)
    assert "request 0 sent sample" in said
    assert "the order requires" in said


def test_a_latency_altered_in_the_log_is_contradicted_by_the_summary(results, verify):
    def shorten(records):
        records[0]["last_content_ns"] -= 1000

    said = tampered(results, verify, STEADY, REQUESTS, shorten)
    assert "summary.json: measurement.metrics.request_latency.statistics" in said


def test_a_failure_turned_into_a_success_is_contradicted_by_the_counters(results, verify):
    def fail(records):
        records[0] |= {"outcome": "failed", "error": "reset"}

    said = tampered(results, verify, STEADY, REQUESTS, fail)
    assert "phase.json: succeeded is 8; recomputed it is 7" in said
    assert "phase.json: failures.reset is absent; recomputed it is 1" in said
    assert "requests.0.jsonl: report.failed is 0; recomputed it is 1" in said


def test_a_log_of_another_session_or_point_or_phase_is_red(results, verify):
    for field, value in (("nonce", "0" * 16), ("point", "small/perf/other"), ("phase", "warmup")):
        edit_header(results / STEADY / REQUESTS, **{field: value})
        relist(results, STEADY)
        status, said = verify(results)
        assert (status, f"requests.0.jsonl: header: {field} is" in said) == (1, True), said


def edit_phase(results, change):
    """Alter the account of a phase wherever a session writes it."""
    edit(results / STEADY / "phases/measured/phase.json", change)
    edit(results / STEADY / "summary.json", lambda summary: change(summary["phases"][0]))
    relist(results, STEADY)


def test_a_client_bound_log_is_red_even_if_the_phase_result_is_not(results, verify):
    def leave_empty(records):
        for record in records[1:]:
            record["turnaround_ns"] = record["end_ns"] - record["send_start_ns"]

    said = tampered(results, verify, STEADY, REQUESTS, leave_empty)
    assert "requests.0.jsonl: report.vacant_ns is" in said
    assert "phase.json: health.vacancy is" in said
    assert "phase.json: health.vacancy_p99 is" in said


def test_the_report_of_a_load_worker_must_follow_from_its_records(results, verify):
    for fields in ({"vacant_ns": 0}, {"in_flight_ns": 1}, {"turnaround_ms": None}, {"succeeded": 7}):
        path = shutil.copytree(results, results.parent / "copy", dirs_exist_ok=True)
        edit_report(path / STEADY / REQUESTS, **fields)
        relist(path, STEADY)
        status, said = verify(path)
        assert (status, f"report.{next(iter(fields))} is" in said) == (1, True), said


def test_a_log_without_the_report_of_its_load_worker_is_red(results, verify):
    path = results / STEADY / REQUESTS
    *lines, last = path.read_bytes().splitlines(keepends=True)
    lines.append(encode_line(canonical_json({"kind": "end", "lines": json.loads(last)["lines"]})))
    path.write_bytes(b"".join(lines))
    relist(results, STEADY)
    status, said = verify(results)
    assert (status, "holds no report of its load worker" in said) == (1, True), said


def test_no_field_of_a_phase_result_can_change_even_if_the_summary_agrees(spoiled):
    """Except the start, on which nothing depends in a closed loop."""
    path = spoiled / STEADY / "phases/measured/phase.json"
    before = shutil.copytree(spoiled, spoiled.parent / "before")
    fields = json.loads(path.read_text())
    unnoticed = []
    for *way, last in leaves(fields):

        def change(phase, way=way, last=last):
            for step in way:
                phase = phase[step]
            phase[last] = another(phase[last])

        if not way and last in {"point", "nonce", "version"}:
            continue  # a summary does not have them, and `test_a_log_of_another_session` alters them
        edit_phase(spoiled, change)
        if verify_session(spoiled).sound:
            unnoticed.append((*way, last))
        shutil.copytree(before, spoiled, dirs_exist_ok=True)
    assert unnoticed == [("start_ns",)]


def in_flight(results, point, peak):
    """Let the engine's own counters say, everywhere, how many requests were in flight at most."""
    edit(results / point / "phases/measured/phase.json", lambda phase: phase.update(peak_in_flight=peak))
    edit(results / point / "summary.json", lambda summary: summary["phases"][0].update(peak_in_flight=peak))
    relist(results, point)


@pytest.mark.parametrize("peak", [1, 3])
def test_engine_counters_with_another_concurrency_than_requested_are_red(results, verify, peak):
    in_flight(results, TWO, peak)
    status, said = verify(results)
    assert status == 1
    assert f"phases[0].peak_in_flight is {peak}, and a concurrency of 2 was asked for" in said


def test_a_log_with_more_requests_in_flight_than_the_counters_is_red(results, verify):
    def all_at_once(records):
        for record in records:
            record["send_start_ns"] = records[0]["send_start_ns"]

    said = tampered(results, verify, STEADY, REQUESTS, all_at_once)
    assert "8 requests were in flight at once, but peak_in_flight is 1" in said


def one_fewer(records):
    del records[-1]


def one_more(records):
    records.append(records[-1] | {"seq": 8, "index": 8, "request_id": "one-more"})


@pytest.mark.parametrize(("change", "count"), [(one_fewer, 7), (one_more, 9)])
def test_another_number_of_requests_than_declared_is_red_even_if_all_files_agree(
    results, verify, change, count
):
    def recount(phase):
        phase |= {"issued": count, "succeeded": count}

    edit(results / STEADY / "phases/measured/phase.json", recount)
    edit(results / STEADY / "summary.json", lambda summary: recount(summary["phases"][0]))
    said = tampered(results, verify, STEADY, REQUESTS, change)
    assert f"phases[0].issued is {count}, and 8 requests were asked for" in said


def test_a_bound_that_the_log_does_not_meet_is_red_even_if_summary_and_events_agree(results, verify):
    def tighten(judgement):
        judgement["bounds"][0]["bound"] |= {"limit": 1.0, "text": "<= 1ns"}

    def tighten_report(events):
        for event in events:
            if event.get("judgement") and event["point"].endswith("c0001"):
                tighten(event["judgement"])

    edit(results / STEADY / "summary.json", lambda summary: tighten(summary["judgement"]))
    edit_events(results, tighten_report)
    relist(results, STEADY)
    status, said = verify(results)
    assert (status, "its judgement is pass, but one of its bounds is not met" in said) == (1, True), said


JUNIT_CHANGES = {
    "green where the verdict is": ('outcome" value="pass"', 'outcome" value="fail"'),
    "an invented failure": ("</testcase>", '<failure message="x"/></testcase>'),
    "a skip": ("</testcase>", "<skipped/></testcase>"),
    "another verdict": ('name="verdict" value="pass"', 'name="verdict" value="fail"'),
    "another coverage": ('name="coverage" value="complete"', 'name="coverage" value="partial"'),
    "another class": ('classname="small.perf"', 'classname="other.perf"'),
    "another name": ('name="small/perf/steady/c0001"', 'name="small/perf/steady/c0009"'),
    "another number": (
        'name="failed_requests" value="0 requests"',
        'name="failed_requests" value="1 requests"',
    ),
    "another label": ('value="simulator ', 'value="real '),
    "another count": ('tests="3"', 'tests="2"'),
    "another digest": ('evidence_sha256" value="', 'evidence_sha256" value="0'),
}


@pytest.mark.parametrize("what", JUNIT_CHANGES)
def test_a_junit_file_with_different_content_is_red(results, verify, what):
    path = results / "junit.xml"
    before = path.read_text()
    path.write_text(before.replace(*JUNIT_CHANGES[what], 1))
    assert path.read_text() != before
    status, said = verify(results)
    assert (status, "junit.xml: " in said) == (1, True), said


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"</testcase>", b"</testcase><testcase classname='t' name='o' />", 1),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data + b" ",
        lambda data: data[:-1],
        lambda data: data.replace(b'" value=', b'"  value=', 1),
    ],
    ids=["another case", "other line ends", "a space more", "a byte less", "a space within"],
)
def test_no_byte_of_the_junit_file_can_change(results, verify, change):
    path = results / "junit.xml"
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    status, said = verify(results)
    assert (status, "junit.xml: line " in said) == (1, True), said


def test_a_junit_file_outside_of_the_results_can_be_given(results, tmp_path, verify):
    elsewhere = (results / "junit.xml").rename(tmp_path / "report.xml")
    assert verify(results, "--junit", elsewhere)[0] == 0
    assert verify(results, "--junit", tmp_path / "none.xml")[0] == 1
    elsewhere.write_text(elsewhere.read_text().replace('"outcome" value="pass"', '"outcome" value="fail"', 1))
    status, said = verify(results, "--junit", elsewhere)
    assert (status, "report.xml: line " in said) == (1, True), said


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]><testsuite>&b;</testsuite>'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<",
        b"\xff\xfe<\0",
        b"<a/>",
        b"<testsuite/>",
        BOMB.encode(),
        BOMB.encode("utf-16"),
        b"<a>" * 10**5,
    ],
)
def test_a_junit_file_of_any_bytes_is_red_and_never_breaks(results, verify, data):
    (results / "junit.xml").write_bytes(data)
    status, said = verify(results)
    assert (status, "junit.xml: " in said) == (1, True), said
