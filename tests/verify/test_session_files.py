"""The files that a session writes: their names and published formats, independent of their location."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jsonschema
import pytest

from pytest_bench.cli.schema import SCHEMAS

PHASE = {"phase.json", "requests.0.jsonl", "texts.0.jsonl"}
EVERY_POINT = {"point.json", "summary.json", "evidence.json"}
FILES = {
    *("plan.json", "verdict.json", "environment.json", "junit.xml", "events/main.jsonl"),
    "deployments/small/simulator.jsonl",
    *(f"points/small/perf/steady/{name}/{file}" for name in ("c0001", "c0002") for file in EVERY_POINT),
    *(f"points/small/perf/steady/{n}/phases/measured/{file}" for n in ("c0001", "c0002") for file in PHASE),
    *(f"points/small/audit/caching/{file}" for file in EVERY_POINT),
    *(
        f"points/small/audit/caching/phases/{phase}/{file}"
        for phase in ("reference", "output_caching")
        for file in PHASE
    ),
    "points/small/audit/caching/audit_output_caching_test.json",
    "points/small/audit/caching/verify_OUTPUT_CACHING_TEST.txt",
}
LINES = {"requests": "request", "texts": "text", "simulator": "simulator", "main": "event"}
"""The published schema of a line, by what the log's name begins with."""


def validator(name):
    return jsonschema.Draft202012Validator(SCHEMAS[name]())


def test_the_folder_holds_exactly_the_documented_files(finished):
    found = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert found == FILES | {"summary.csv", "summary.json"}  # a table of the others, tested in contract/


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".json")))
def test_every_file_has_a_version_and_matches_its_schema(finished, name):
    of = name.rpartition("/")[2].partition(".")[0].partition("_")[0]
    content = json.loads((finished / name).read_text())
    assert content["version"] == {"verdict": 2, "phase": 2, "point": 2, "summary": 5}.get(of, 1)
    validator(of).validate(content)


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".jsonl")))
def test_every_log_has_a_version_and_its_lines_match_their_schema(finished, name):
    header, *lines, end = map(json.loads, (finished / name).read_text().splitlines())
    version = 2 if Path(name).name.startswith(("requests.", "texts.", "main.")) else 1
    assert (header["kind"], header["version"], end["kind"]) == ("header", version, "end")
    schema = validator(LINES[name.rpartition("/")[2].partition(".")[0]])
    assert lines
    for line in lines:
        schema.validate(line)


def test_every_file_of_the_session_carries_its_nonce(finished):
    nonce = json.loads((finished / "plan.json").read_text())["nonce"]
    without = {name for name in FILES if nonce not in (finished / name).read_text()}
    # What a checker of MLPerf's reads, and the simulator's own log, know no session: evidence lists the first.
    assert without == {
        "junit.xml",
        "deployments/small/simulator.jsonl",
        "points/small/audit/caching/audit_output_caching_test.json",
        "points/small/audit/caching/verify_OUTPUT_CACHING_TEST.txt",
    }


def test_evidence_holds_no_path_of_the_machine(finished):
    home = str(finished.parent).encode()
    assert [
        path for path in (finished / "points").rglob("*") if path.is_file() and home in path.read_bytes()
    ] == []


def test_the_verdict_lists_every_file_that_no_evidence_lists(finished):
    """Verdict to evidence, evidence to all of a point's files; the JUnit file is rendered from verdict and events."""
    verdict = json.loads((finished / "verdict.json").read_text())
    own = {name for name in FILES if not name.startswith("points/")} - {"verdict.json", "junit.xml"}
    assert verdict["files"].keys() == own
    for name, digest in verdict["files"].items():
        assert hashlib.sha256((finished / name).read_bytes()).hexdigest() == digest
    assert all(len(point["evidence_digest"]) == 64 for point in verdict["points"])
