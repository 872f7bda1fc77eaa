"""Runs that the command line or the suite shortens are labelled."""

from __future__ import annotations

import json


def summary(ran, point):
    return json.loads((ran.results / "points/tiny/perf" / point / "summary.json").read_text())


def test_a_count_given_on_the_command_line_is_used_and_labelled(folder):
    ran = folder.run("--endpoint=simulator", "--requests=1", "-k", "one")
    ran.require(0, "pass", one="pass")
    assert summary(ran, "one")["measurement"]["issued"] == 1
    (point,) = ran.verdict["points"]
    assert "requests-overridden" in point["labels"]
    assert "shortened" not in point["labels"]


def test_a_duration_scale_that_changes_nothing_is_noted_and_adds_no_label(folder):
    ran = folder.run("--endpoint=simulator", "--duration-scale=0.1", "-k", "one")
    ran.require(0, "pass", one="pass")
    assert "tiny/perf/one: --duration-scale 0.1 changed nothing: the point declares no duration" in ran.output
    (point,) = ran.verdict["points"]
    assert "shortened" not in point["labels"]


def test_rows_that_the_suite_skips_are_counted_in_the_evidence(folder):
    folder.edit("bench/tiny.yaml", "{path: data/prompts.jsonl}", "{path: data/prompts.jsonl, skip_bad: true}")
    path = folder.root / "bench/data/prompts.jsonl"
    path.write_text(path.read_text() + '\n{"prompt": ""}\n{"prompt"\n')
    ran = folder.run("--endpoint=simulator", "-k", "one")
    ran.require(0, "pass", one="pass")
    dataset = summary(ran, "one")["dataset"]
    assert (dataset["rows"], dataset["skipped"]) == (40, 2)
