"""Reuse of evidence of an earlier session for points that did not run."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from small_bench import bench_folder, run_pytest
from tampering import REQUESTS, edit_events, edit_lines, relist, reseal

from pytest_bench.cli import main
from pytest_bench.verdict.expectation import read_expectation
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verify import parse_age, reuse, verify_session

ONE, TWO, AUDIT = "small/perf/steady/c0001", "small/perf/steady/c0002", "small/audit/caching"


@pytest.fixture
def narrowed(expectation, tmp_path):
    """The expectation, with other digests for some points."""

    def narrow(points):
        content = json.loads(expectation.read_text())
        path = tmp_path / "narrowed.json"
        path.write_text(json.dumps({"points": {**content["points"], **points}}))
        return path

    return narrow


def test_points_missing_in_a_partial_session_are_reused_from_a_complete_one_and_listed(
    partial, finished, expectation, tmp_path, verify
):
    output = tmp_path / "verdict.json"
    words = (partial, "--expect", expectation, "--reuse", finished, "-o", output)
    status, said = verify(*words)
    assert status == 0, said
    reused = {point["id"]: point["reused"] for point in json.loads(output.read_text())["points"]}
    assert reused == {ONE: None, TWO: str(finished), AUDIT: str(finished)}
    for name in (TWO, AUDIT):
        assert f"reused: {name} from {finished}" in said


def test_a_whole_session_can_be_reused(finished, expectation, verify):
    status, said = verify("--expect", expectation, "--reuse", finished)
    assert (status, said.count("\nreused: ") + 1) == (0, 3), said


def test_a_part_of_a_sweep_never_qualifies(partial, expectation, verify):
    status, said = verify("--expect", expectation, "--reuse", partial)
    assert (status, "reused: small" in said, "a sweep is reused only as a whole" in said) == (
        1,
        False,
        True,
    ), said


def test_a_point_that_depends_on_something_else_is_not_reused(finished, narrowed, verify):
    status, said = verify("--expect", narrowed({ONE: "0" * 64}), "--reuse", finished)
    assert (status, "it is a different point" in said, f"{ONE}: missing" in said) == (
        1,
        True,
        True,
    ), said


def test_a_point_without_a_digest_is_not_reused(finished, narrowed, verify):
    status, said = verify("--expect", narrowed({ONE: None}), "--reuse", finished)
    assert (status, "has no digest for it" in said) == (1, True), said


def test_a_point_judged_with_another_threshold_is_not_reused(bench, finished, tmp_path, verify, capsys):
    """What a point must meet is part of what it depends on."""
    suites = shutil.copytree(bench / "bench", tmp_path / "bench")
    suite = suites / "small.yaml"
    suite.write_text(suite.read_text().replace("<= 60s", "<= 50s"))
    tightened = tmp_path / "tightened.json"
    assert main(["plan", str(suites), "--endpoint=simulator", "--only", ONE, "-o", str(tightened)]) == 0
    status, said = verify("--expect", tightened, "--reuse", finished)
    assert (status, f"{ONE}: not reused: its digest is" in said) == (1, True), said


def test_a_point_with_other_prompts_is_not_reused(bench, finished, tmp_path, verify):
    """The suite still names the same file, and the file holds something else."""
    suites = shutil.copytree(bench / "bench", tmp_path / "bench")
    prompts = suites / "data" / "prompts.jsonl"
    prompts.write_text(prompts.read_text().replace("number 7.", "number seven."))
    of_today = tmp_path / "of-today.json"
    assert main(["plan", str(suites), "--endpoint=simulator", "--only", ONE, "-o", str(of_today)]) == 0
    status, said = verify("--expect", of_today, "--reuse", finished)
    assert (status, f"{ONE}: not reused: its digest is" in said) == (1, True), said


def test_evidence_whose_pass_does_not_follow_from_its_files_is_not_reused(
    finished, expectation, tmp_path, verify
):
    old = shutil.copytree(finished, tmp_path / "old")
    point = f"points/{ONE}"
    edit_lines(old / point / REQUESTS, lambda records: records[0].update(last_content_ns=10**15))
    relist(old, point)
    status, said = verify("--expect", expectation, "--reuse", old)
    assert (status, "reused: small" in said, "request_latency" in said) == (1, False, True), said


def test_a_session_with_a_fault_is_not_reused(finished, expectation, tmp_path, verify):
    old = shutil.copytree(finished, tmp_path / "old")
    fault = {"type": "fault", "code": "internal-error", "sentence": "pytest itself failed", "point": None}
    edit_events(old, lambda events: events.insert(-1, fault))
    reseal(old)
    status, said = verify("--expect", expectation, "--reuse", old)
    assert (status, "reused: small" in said) == (1, False), said
    assert "its session had a fault: pytest itself failed" in said


ONLY_THE_FIRST_PASSES = """
import pytest


@pytest.mark.points("perf")
def test_perf(run_load):
    measured = run_load()
    measured.require()
    assert measured.point.id.endswith("c0001")
"""


@pytest.fixture
def failed(tmp_path):
    """Results of a session in which the second point of the sweep failed."""
    (bench_folder(tmp_path) / "bench" / "test_perf.py").write_text(ONLY_THE_FIRST_PASSES)
    return run_pytest(tmp_path, results="failed", status=1)


def test_a_failed_point_and_the_rest_of_its_sweep_are_not_reused(failed, expectation, verify):
    status, said = verify("--expect", expectation, "--reuse", failed)
    assert (status, "reused: small/perf" in said) == (1, False), said
    assert f"{TWO}: not reused: it ended fail" in said
    assert f"{ONE}: not reused: another point of its sweep did not pass there" in said
    assert f"reused: {AUDIT} from" in said


def test_damaged_evidence_is_not_reused(finished, expectation, tmp_path, verify):
    old = shutil.copytree(finished, tmp_path / "old")
    (old / "points" / ONE / "phases/measured/requests.0.jsonl").write_bytes(b"")
    status, said = verify("--expect", expectation, "--reuse", old)
    assert (status, "reused: small" in said, "requests.0.jsonl" in said) == (1, False, True), said


@pytest.mark.parametrize(
    ("after", "why"),
    [(timedelta(days=8), "at most 168.0 h are allowed"), (timedelta(days=-1), "was started in the future")],
)
def test_evidence_of_the_wrong_age_is_not_reused(finished, expectation, after, why):
    now = datetime.now(UTC) + after
    found = reuse(None, finished, read_expectation(expectation), max_age_s=parse_age("7d"), now=now)
    assert why in found.refused[0]
    assert {str(point.outcome) for point in found.verdict.points} == {"missing"}
    assert found.verdict.status == "incomplete"


@pytest.mark.parametrize("outcome", [item for item in Outcome if item is not Outcome.MISSING])
def test_points_that_ran_again_are_never_replaced_however_they_ended(finished, expectation, outcome):
    wanted = read_expectation(expectation)
    verdict = verify_session(finished, wanted).verdict
    points = tuple(replace(point, outcome=outcome) for point in verdict.points)
    verdict = replace(verdict, points=points)
    found = reuse(verdict, finished, wanted, max_age_s=3600, now=datetime.now(UTC))
    assert [point.reused for point in found.verdict.points] == [None, None, None]


@pytest.mark.parametrize(
    "words", [("--reuse", "OLD"), (), ("--reuse", "OLD", "--expect", "FILE", "--max-age", "7")]
)
def test_reuse_without_the_required_options_is_a_usage_error(finished, expectation, verify, words):
    named = {"OLD": finished, "FILE": expectation}
    assert verify(*(named.get(word, word) for word in words))[0] == 2
