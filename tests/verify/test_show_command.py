"""`pytest-bench show` prints the table of a session, and nothing that does not verify as passed."""

from __future__ import annotations

import csv
import json

import pytest
from tampering import edit

from pytest_bench.cli import main

STEADY = "small/perf/steady/c0001"
FORMATS = ["", "--csv", "--json", "--markdown"]


@pytest.fixture
def show(capsys):
    """`pytest-bench show` in this process: its exit status, its output, and its complaints."""

    def call(*words):
        try:
            status = main(["show", *(str(word) for word in words if word)])
        except SystemExit as exit_:
            status = exit_.code
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return status, told.out, told.err

    return call


def test_the_table_and_the_verdict_of_a_session_are_those_that_it_printed(finished, show):
    status, out, err = show(finished)
    assert (status, err) == (0, "")
    assert [line for line in out.splitlines() if line in ("perf", "audit")] == ["audit", "perf"]
    assert "small/perf/steady/c0002" in out
    assert "verdict: pass - every selected point passed; coverage complete" in out


def test_a_partial_session_that_passed_is_shown_with_the_status_that_it_ended_with(partial, show):
    status, out, err = show(partial)
    assert (status, err) == (0, "")
    assert "coverage PARTIAL" in out


def test_csv_and_json_have_the_full_numbers_of_the_summaries(finished, show):
    summary = json.loads((finished / "points" / STEADY / "summary.json").read_text())
    measured = summary["measurement"]["metrics"]["request_latency"]["statistics"]["p99"]
    status, out, _ = show(finished, "--csv")
    rows = {row["point"]: row for row in csv.DictReader(out.splitlines())}
    assert (status, float(rows[STEADY]["request_latency.p99 (ns)"])) == (0, measured)
    assert rows[STEADY]["outcome"] == "pass"
    status, out, _ = show(finished, "--json")
    table = json.loads(out)
    (record,) = [point for point in table["points"] if point["point"] == STEADY]
    assert (table["version"], table["status"], record["request_latency.p99"]) == (1, "pass", measured)
    assert table["units"]["request_latency.p99"] == "ns"
    assert record["labels"] == ["simulator", *record["labels"][1:]]


def test_markdown_has_a_row_of_full_width_for_each_point(finished, show):
    _, out, _ = show(finished, "--markdown")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert sum(line.startswith("| small/") for line in rows) == 3
    for table in out.split("**audit**")[1].split("**perf**"):
        assert len({line.count(" | ") for line in table.splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize("format_", FORMATS)
def test_a_folder_that_does_not_verify_is_not_green_in_any_format(results, show, format_):
    edit(results / "points" / STEADY / "summary.json", lambda summary: summary.update(served=["elsewhere"]))
    status, out, err = show(results, format_)
    assert status == 1
    assert f"{STEADY}/summary.json" in err
    assert " pass" not in out.replace("0 pass", "")
    assert ",pass," not in out
    assert '"pass"' not in out


@pytest.mark.parametrize("format_", FORMATS)
def test_an_edited_verdict_is_not_shown(results, show, format_):
    (results / "points" / STEADY / "evidence.json").unlink()
    status, out, _ = show(results, format_)
    assert status == 1
    rows = [line for line in out.splitlines() if STEADY in line]
    assert rows
    assert not any("pass" in line for line in rows)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_recorded_verdict_that_is_worse_wins(results, show, format_):
    def worsen(verdict):
        for point in verdict["points"]:
            if point["id"] == STEADY:
                point["outcome"] = "fail"

    edit(results / "verdict.json", worsen)
    status, out, err = show(results, format_)
    assert status == 1
    assert "verdict.json" in err
    assert "verdict: pass" not in out
    assert not any("pass" in line for line in out.splitlines() if STEADY in line)


def test_a_folder_without_results_is_a_usage_error(tmp_path, show):
    for folder, told in ((tmp_path, "holds no results"), (tmp_path / "gone", "is not a folder")):
        status, _, err = show(folder)
        assert (status, told in err) == (2, True), err


@pytest.mark.parametrize("name", ["plan.json", "verdict.json", "events/main.jsonl"])
@pytest.mark.parametrize("data", [b"", b"{", b"\xff\x00"])
def test_a_broken_file_is_named_and_the_result_is_not_green(results, show, name, data):
    (results / name).write_bytes(data)
    status, out, err = show(results)
    assert status == 1
    assert name in err
    assert "verdict: pass" not in out
