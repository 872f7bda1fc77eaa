"""Results of a session verify unchanged, and are red if any one thing is altered."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest
from tampering import AUDIT, STEADY, TWO, edit, edit_events, relist, reseal, tell

from pytest_bench.suite.plan import Plan


def test_results_of_a_session_that_passed_verify(results, verify):
    status, said = verify(results)
    assert (status, "pass: 3 points verified" in said) == (0, True), said


def test_verifying_writes_nothing(results, verify):
    before = sorted((path, path.stat().st_mtime_ns) for path in results.rglob("*"))
    verify(results)
    assert sorted((path, path.stat().st_mtime_ns) for path in results.rglob("*")) == before


def test_results_verify_without_their_suites(finished, expectation, tmp_path, verify, monkeypatch):
    copied = shutil.copytree(finished, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert verify(copied, "--expect", expectation)[0] == 0


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        (("measurement", "metrics", "request_throughput", "value"), 1e6, "metrics.request_throughput.value"),
        (("measurement", "succeeded"), 7, "measurement.succeeded"),
        (
            ("measurement", "metrics", "request_latency", "statistics", "p99"),
            1.0,
            "request_latency.statistics.p99",
        ),
        (("judgement", "labels"), [], "judgement.labels"),
        (("judgement", "outcome"), "fail", "judgement.outcome"),
        (("judgement", "bounds", 0, "measured"), 1.0, "judgement.bounds[0].measured"),
        (("judgement", "bounds", 0, "bound", "limit"), 1e18, "judgement.bounds[0].bound.limit"),
        (("nonce",), "0" * 16, "nonce"),
        (("point",), "small/perf/steady/c0002", "point"),
        (("phases", 0, "peak_in_flight"), 9, "phases[0].peak_in_flight"),
        (("phases", 0, "folder"), "../c0002/phases/measured", "phases[0].folder"),
        (("phases",), [], "phase"),
    ],
)
def test_a_summary_edited_together_with_its_evidence_is_contradicted_by_the_logs(
    results, verify, field, value, named
):
    def change(summary):
        *path, last = field
        for name in path:
            summary = summary[name]
        assert summary[last] != value
        summary[last] = value

    edit(results / STEADY / "summary.json", change)
    relist(results, STEADY)
    status, said = verify(results)
    assert status == 1, said
    assert f"{STEADY}/summary.json" in said or STEADY in said, said
    assert named in said, said


def test_an_edited_summary_alone_is_an_altered_file(results, verify):
    edit(results / STEADY / "summary.json", lambda summary: summary["served"].append("http://other"))
    status, said = verify(results)
    assert status == 1
    assert f"{STEADY}/summary.json: " in said, said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "fail"),
        ("nonce", "other"),
        ("plan_digest", "0" * 64),
        ("counts", {"pass": 4}),
        ("faults", None),
    ],
)
def test_an_edited_verdict_is_contradicted_by_the_events(results, verify, field, value):
    edit(results / "verdict.json", lambda verdict: verdict.update({field: value}))
    status, said = verify(results)
    assert (status, "verdict.json" in said) == (1, True), said


def test_a_verdict_without_one_of_its_points_is_red(results, verify):
    edit(results / "verdict.json", lambda verdict: verdict["points"].pop())
    status, said = verify(results)
    assert (status, "verdict.json: points[2]" in said) == (1, True), said


def test_an_edited_plan_no_longer_has_its_digest(results, verify):
    edit(results / "plan.json", lambda plan: plan["plan"]["points"][0]["load"].update(requests=4))
    status, said = verify(results)
    assert (status, "plan.json: digest is" in said) == (1, True), said


def test_a_plan_with_a_point_and_its_digest_altered_is_contradicted_by_the_events(results, verify):
    def change(plan):
        plan["plan"]["points"][1]["bounds"] = []
        plan["digest"] = msgspec.convert(plan["plan"], Plan).digest()

    edit(results / "plan.json", change)
    status, said = verify(results)
    assert (status, "plan.json: its digest is" in said) == (1, True), said


@pytest.mark.parametrize("name", ["plan.json", "verdict.json", "environment.json", "events/main.jsonl"])
def test_results_without_one_of_their_files_are_red(results, verify, name):
    (results / name).unlink()
    status, said = verify(results)
    assert status == 1
    assert f"{name}: " in said, said


def test_events_without_a_report_make_its_point_incomplete(results, verify):
    def change(events):
        events[:] = [event for event in events if event.get("stage") != "call"]

    edit_events(results, change)
    reseal(results)
    status, said = verify(results)
    assert (status, "no call report" in said) == (1, True), said


NAMED = [
    "plan.json",
    "verdict.json",
    "environment.json",
    "events/main.jsonl",
    "deployments/small/simulator.jsonl",
]


def test_a_lease_that_ends_before_the_last_request_makes_its_point_an_error(results, verify):
    phase = json.loads((results / STEADY / "phases/measured/phase.json").read_text())

    def shorten(events):
        for event in events:
            if event["type"] == "lease" and f"points/{event['point']}" == STEADY and event["end_ns"]:
                event["end_ns"] = min(event["end_ns"], phase["last_completion_ns"] - 1)

    edit_events(results, shorten)
    reseal(results)
    status, said = verify(results)
    assert status == 1
    assert "was not held from its first request to the end of its last" in said


@pytest.mark.parametrize("name", [*NAMED, "junit.xml", "events", "deployments"])
def test_a_link_to_a_copy_is_red(results, tmp_path, verify, name):
    (results / name).rename(tmp_path / "copy")
    (results / name).symlink_to(tmp_path / "copy")
    assert verify(results)[0] == 1


@pytest.mark.parametrize("change", [lambda data: data.replace(b"\n", b"\r\n"), lambda data: data + b"\n"])
@pytest.mark.parametrize("name", [*NAMED, "junit.xml"])
def test_other_bytes_of_the_same_meaning_are_red(results, verify, name, change):
    path = results / name
    path.write_bytes(change(path.read_bytes()))
    assert verify(results)[0] == 1


def test_a_verdict_with_its_keys_in_another_order_is_red(results, verify):
    path = results / "verdict.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items())), indent=2))
    status, said = verify(results)
    assert (status, "verdict.json: the fields are right, but the bytes" in said) == (1, True), said


@pytest.mark.parametrize(
    "name", ["notes.txt", "events/gw7.jsonl", "deployments/small/more.txt", "points/x", ".hidden"]
)
def test_an_unlisted_file_is_red(results, verify, name):
    (results / name).write_text("looks fine")
    status, said = verify(results)
    assert status == 1
    assert f"{name}: " in said, said


def test_files_of_a_recount_are_named_and_not_verified(results, verify):
    (results / "recounts/now").mkdir(parents=True)
    (results / "recounts/now/summary.json").write_text("{}")
    status, said = verify(results)
    assert (status, "recounts/: written by `pytest-bench recount`" in said) == (0, True), said


@pytest.mark.parametrize("cut", [1, 200])
def test_a_truncated_log_is_red(results, verify, cut):
    path = results / STEADY / "phases/measured/requests.0.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert verify(results)[0] == 1
    relist(results, STEADY)
    status, said = verify(results)
    assert (status, "requests.0.jsonl" in said) == (1, True), said


def test_a_log_without_one_of_its_lines_is_red(results, verify):
    path = results / STEADY / "phases/measured/requests.0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    relist(results, STEADY)
    status, said = verify(results)
    assert (status, "requests.0.jsonl" in said) == (1, True), said


def test_swapped_points_are_red(results, verify):
    one, other = results / STEADY, results / "points/small/perf/steady/c0002"
    one.rename(results / "aside")
    other.rename(one)
    (results / "aside").rename(other)
    status, said = verify(results)
    assert (status, "evidence of something else" in said) == (1, True), said


def test_a_point_copied_over_another_is_red(results, verify):
    shutil.rmtree(results / TWO)
    shutil.copytree(results / STEADY, results / TWO)
    status, said = verify(results)
    assert (status, f"{TWO}/evidence.json: its point is small/perf/steady/c0001" in said) == (1, True), said


def test_a_session_older_than_the_given_age_is_red(results, verify):
    """Good in itself, as a folder copied over today's is: nothing but its age is wrong with it."""
    tell(results, started="2020-01-01T00:00:00Z")
    assert verify(results)[0] == 0
    status, said = verify(results, "--max-age", "1d")
    assert (status, "at most 24.0 h are allowed (--max-age)" in said) == (1, True), said


def test_a_session_dated_in_the_future_is_red_if_an_age_is_given(results, verify):
    tell(results, started="2999-01-01T00:00:00Z")
    assert verify(results)[0] == 0
    status, said = verify(results, "--max-age", "1d")
    assert (status, "was started in the future" in said) == (1, True), said


def test_a_point_of_another_session_is_red(results, partial, verify):
    shutil.rmtree(results / STEADY)
    shutil.copytree(partial / STEADY, results / STEADY)
    status, said = verify(results)
    assert (status, "nonce" in said) == (1, True), said


def test_a_missing_point_is_red(results, verify):
    shutil.rmtree(results / STEADY)
    status, said = verify(results)
    assert (status, "has no evidence folder" in said) == (1, True), said


def test_an_added_file_is_red(results, verify):
    (results / STEADY / "notes.txt").write_text("looks fine")
    status, said = verify(results)
    assert (status, "notes.txt: is not listed" in said) == (1, True), said


def test_evidence_of_an_unknown_point_is_red(results, verify):
    shutil.copytree(results / STEADY, results / "points/small/perf/other")
    status, said = verify(results)
    assert (status, "points/small/perf/other/evidence.json: is not listed" in said) == (1, True), said


def test_evidence_behind_a_link_is_red(results, verify):
    (results / STEADY).rename(results / "aside")
    (results / STEADY).symlink_to(results / "aside")
    assert verify(results)[0] == 1


@pytest.mark.parametrize("name", ["audit_output_caching_test.json", "verify_OUTPUT_CACHING_TEST.txt"])
def test_an_edited_audit_file_is_red_although_the_evidence_lists_it(results, verify, name):
    path = results / AUDIT / name
    path.write_bytes(path.read_bytes().replace(b"rue", b"RUE"))
    relist(results, AUDIT)
    status, said = verify(results)
    assert (status, f"{AUDIT}/{name}: differs from what the audit computes" in said) == (1, True), said


def test_an_edited_rate_of_an_audit_is_red_although_the_evidence_lists_it(results, verify):
    def change(summary):
        summary["detail"]["result"]["details"]["ref_qps"] *= 2

    edit(results / AUDIT / "summary.json", change)
    relist(results, AUDIT)
    status, said = verify(results)
    assert (status, "detail.result.details.ref_qps" in said) == (1, True), said


def test_partial_coverage_needs_to_be_allowed(partial, verify):
    status, said = verify(partial)
    assert (status, "coverage is partial: small/audit/caching, small/perf/steady/c0002" in said) == (
        1,
        True,
    ), said
    assert verify(partial, "--allow-partial")[0] == 0


def test_partial_coverage_is_accepted_if_it_meets_the_expectation(partial, expectation, tmp_path, verify):
    content = json.loads(expectation.read_text())
    digest = content["points"]["small/perf/steady/c0001"]
    narrow = tmp_path / "narrow.json"
    narrow.write_text(json.dumps({"points": {"small/perf/steady/c0001": digest}}))
    assert verify(partial, "--expect", narrow)[0] == 0


def test_a_point_of_the_expectation_that_did_not_run_is_red(partial, expectation, verify):
    status, said = verify(partial, "--expect", expectation)
    assert (status, "small/perf/steady/c0002: missing" in said) == (1, True), said


def test_results_of_another_plan_than_the_expected_are_red(results, expectation, tmp_path, verify):
    content = json.loads(expectation.read_text())
    content["points"]["small/perf/steady/c0001"] = "0" * 64
    content["plan_digest"] = None
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    status, said = verify(results, "--expect", other)
    assert (status, "the expectation names a point with digest" in said) == (1, True), said


def test_the_new_verdict_can_be_written(results, tmp_path, verify):
    assert verify(results, "-o", tmp_path / "again.json")[0] == 0
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(
        (results / "verdict.json").read_text()
    )
