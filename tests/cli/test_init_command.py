from __future__ import annotations

import configparser
import json

import jsonschema
import pytest
import yaml
from test_commands import ends

from pytest_bench.cli.init import starter_files


def test_a_starter_folder_holds_a_suite_its_tests_and_the_settings(capsys, tmp_path):
    status, out, _ = ends(capsys, "init", str(tmp_path / "bench"))
    assert status == 0
    written = {
        path.relative_to(tmp_path / "bench").as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert written == {
        "chat.yaml",
        "data/prompts.jsonl",
        "pytest.ini",
        "suite.schema.json",
        "test_perf.py",
        "test_audit.py",
        "test_eval.py",
    }
    assert "pytest" in out
    settings = configparser.ConfigParser()
    settings.read(tmp_path / "bench/pytest.ini")
    assert settings["pytest"]["required_plugins"] == "pytest-inference-bench"


def test_a_starter_suite_names_the_schema_beside_it_for_editors(capsys, tmp_path):
    ends(capsys, "init", str(tmp_path))
    first = (tmp_path / "chat.yaml").read_text().partition("\n")[0]
    schema = json.loads((tmp_path / first.removeprefix("# yaml-language-server: $schema=")).read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    suite = yaml.safe_load((tmp_path / "chat.yaml").read_text())
    validator = jsonschema.Draft7Validator(schema)
    assert list(validator.iter_errors(suite)) == []
    suite["perf"]["steady"]["bounds"] = {
        "time_to_first_token.p99": "<= 200",
        "time_to_first_tokn.p99": "<= 1s",
    }
    assert len(list(validator.iter_errors(suite))) == 2, (
        "a time without a unit, and a metric that does not exist"
    )


def test_a_starter_suite_has_no_problems(capsys, tmp_path):
    ends(capsys, "init", str(tmp_path / "bench"))
    status, out, err = ends(capsys, "plan", str(tmp_path / "bench"))
    assert (status, err) == (0, "")
    assert "chat/perf/steady/c0001" in out
    assert "chat/audit/caching" in out


@pytest.mark.parametrize("taken", starter_files())
def test_an_existing_file_is_never_overwritten(capsys, tmp_path, taken):
    path = tmp_path / taken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    status, _, err = ends(capsys, "init", str(tmp_path))
    assert status == 2
    assert str(path) in err
    assert path.read_text() == "mine"
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path], "nothing was written"


def test_a_file_in_place_of_the_folder_is_a_usage_error(capsys, tmp_path):
    (tmp_path / "bench").write_text("a file")
    status, _, err = ends(capsys, "init", str(tmp_path / "bench"))
    assert status == 2
    assert "bench" in err
