from __future__ import annotations

import json

import jsonschema
import pytest
import yaml
from test_commands import ends

from pytest_bench.verdict.expectation import read_expectation

SUITE = """
suite: chat
deployment: {api: openai-chat, model: m}
datasets: {rows: {path: rows.jsonl}}
perf:
  steady:
    dataset: rows
    load: {pattern: concurrency, requests: 8}
    sweep: {concurrency: [1, 4]}
"""
POINTS = ["chat/perf/steady/c0001", "chat/perf/steady/c0004"]


@pytest.fixture
def suites(tmp_path, monkeypatch):
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites/chat.yaml").write_text(SUITE, encoding="utf-8")
    (tmp_path / "suites/rows.jsonl").write_text('{"prompt": "a"}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "suites"


def expectation(capsys, *argv: str):
    status, out, err = ends(capsys, "plan", *argv)
    assert (status, err) == (0, "")
    return json.loads(out)


def test_a_plan_is_an_expectation_with_every_point_and_its_digest(capsys, suites, tmp_path):
    plan = expectation(capsys, "suites")
    assert list(plan["points"]) == POINTS
    assert len({*plan["points"].values(), plan["plan_digest"]}) == 3
    (tmp_path / "expectation.json").write_text(json.dumps(plan))
    assert read_expectation(tmp_path / "expectation.json").points == plan["points"]


def test_the_same_suites_have_the_same_plan_and_other_endpoints_another(capsys, suites):
    first = expectation(capsys, "suites")
    assert expectation(capsys, "suites/chat.yaml")["points"] == first["points"]
    assert expectation(capsys, "suites", "--endpoint", "http://h:1") != first


def test_other_data_under_the_same_name_is_another_plan(capsys, suites):
    first = expectation(capsys, "suites")
    (suites / "rows.jsonl").write_text('{"prompt": "b"}\n', encoding="utf-8")
    changed = expectation(capsys, "suites")
    assert changed["plan_digest"] != first["plan_digest"]
    assert all(changed["points"][name] != first["points"][name] for name in POINTS)


def test_digests_of_missing_data_are_refused_and_names_alone_are_accepted(capsys, suites):
    (suites / "rows.jsonl").unlink()
    status, out, err = ends(capsys, "plan", "suites")
    assert (status, out) == (2, "")
    assert f"suites/chat.yaml:4:12: dataset 'rows': {suites}/rows.jsonl: there is no such regular file" in err
    assert "run this where the data is, or add --no-digests" in err
    assert list(expectation(capsys, "suites", "--no-digests")["points"]) == POINTS


def test_an_expectation_can_have_some_of_the_points(capsys, suites):
    plan = expectation(capsys, "suites", "--only", "*/c0004")
    assert list(plan["points"]) == POINTS[1:]
    assert plan["plan_digest"] is None


def test_an_expectation_can_have_names_only(capsys, suites):
    plan = expectation(capsys, "suites", "--no-digests")
    assert plan == {"version": 1, "plan_digest": None, "points": dict.fromkeys(POINTS)}


def test_a_pattern_that_no_point_matches_is_refused(capsys, suites):
    status, _, err = ends(capsys, "plan", "suites", "--only", "chta/*")
    assert status == 2
    assert POINTS[0] in err


def test_a_plan_that_is_written_lists_its_points(capsys, suites, tmp_path):
    status, out, _ = ends(capsys, "plan", "suites", "--output", "plan.json")
    assert (status, out.split()) == (0, POINTS)
    assert list(json.loads((tmp_path / "plan.json").read_text())["points"]) == POINTS


def test_a_plan_that_cannot_be_written_is_a_usage_error(capsys, suites):
    status, _, err = ends(capsys, "plan", "suites", "--output", "no/such/folder/plan.json")
    assert status == 2
    assert "no/such/folder" in err


def test_the_full_plan_shows_every_default(capsys, suites):
    status, out, _ = ends(capsys, "plan", "suites", "--full")
    plan = yaml.safe_load(out)["plan"]
    assert status == 0
    assert plan["points"][0]["timeouts"]["request_s"] == 600
    assert plan["deployments"]["chat"]["metrics_path"] == "/metrics"


def test_problems_of_suites_are_reported_with_their_locations(capsys, suites):
    suites.joinpath("chat.yaml").write_text(SUITE.replace("requests: 8", "reqests: 8"))
    status, _, err = ends(capsys, "plan", "suites")
    assert status == 2
    assert "suites/chat.yaml:8:" in err
    assert "did you mean 'requests'" in err


def test_an_api_of_a_third_party_is_named_on_the_command_line(capsys, suites):
    suites.joinpath("chat.yaml").write_text(SUITE.replace("openai-chat", "theirs"))
    assert ends(capsys, "plan", "suites")[0] == 2
    plan = expectation(capsys, "suites", "--api", "theirs=pytest_bench.api.openai_chat:OpenAIChat")
    assert list(plan["points"]) == POINTS
    assert "expected NAME=MODULE:CLASS" in ends(capsys, "plan", "suites", "--api", "theirs")[2]


@pytest.mark.parametrize("of", ["suite", "verdict", "evidence", "summary", "event", "plan"])
def test_every_published_schema_is_valid(capsys, of):
    status, out, _ = ends(capsys, "schema", of)
    assert status == 0
    jsonschema.validators.validator_for(json.loads(out)).check_schema(json.loads(out))


def test_the_schema_of_suites_accepts_a_suite_and_refuses_a_misspelt_one(capsys, suites):
    schema = json.loads(ends(capsys, "schema")[1])
    suite = yaml.safe_load(SUITE)
    jsonschema.validate(suite, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**suite, "perv": {}}, schema)


def test_a_suite_that_would_not_run_is_refused_by_name(capsys, suites):
    (suites / "team").mkdir()
    (suites / "team/team.yaml").write_text(SUITE.replace("chat", "team"), encoding="utf-8")
    status, out, err = ends(capsys, "plan", "suites", "--no-digests")
    assert (status, out) == (2, "")
    assert "suites/team/team.yaml: is a suite that would not run: its folder holds no test_*.py" in err


def test_a_path_that_does_not_exist_is_refused_by_name(capsys, suites):
    status, out, err = ends(capsys, "plan", "suites", "evals", "--no-digests")
    assert (status, out) == (2, "")
    assert "evals: no such file or folder" in err
