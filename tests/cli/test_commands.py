"""`pytest-bench`, called as a user would call it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest
import yaml

from pytest_bench import __version__, cli

SUITES = Path(__file__).parents[2] / "suites"


def ends(capsys, *words):
    """Run a command: its exit status and what it printed."""
    try:
        status = cli.main([str(word) for word in words])
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def call(capsys):
    return lambda *words: ends(capsys, *words)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(call, name):
    status, out, _ = call(name, "--help")
    assert status == 0
    assert f"example: pytest-bench {name}" in " ".join(out.split())


def test_help_lists_every_command_with_its_summary(call):
    _, out, _ = call("--help")
    assert [name for name in cli.COMMANDS if not re.search(rf"\n    {name}\s", out)] == []


def test_an_unknown_command_is_a_usage_error(call):
    status, _, err = call("paln")
    assert status == 2
    assert "paln" in err


def test_an_interrupted_command_exits_130(call, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pytest_bench.cli.verify.run", interrupted)
    assert call("verify", "results")[0] == 130


def test_the_console_script_is_installed():
    script = Path(sys.executable).with_name("pytest-bench")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == __version__


def test_a_plan_is_an_expectation_with_a_digest_for_every_point(call):
    status, out, _ = call("plan", SUITES, "--endpoint=simulator")
    expectation = json.loads(out)
    assert status == 0
    assert "wan22/perf/offline" in expectation["points"]
    assert all(len(digest) == 64 for digest in expectation["points"].values())


def test_a_plan_written_twice_is_the_same(call, tmp_path):
    for name in ("a", "b"):
        assert call("plan", SUITES, "--endpoint=simulator", "-o", tmp_path / name)[0] == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_endpoint_is_another_plan(call):
    one = json.loads(call("plan", SUITES, "--endpoint=http://a:1")[1])
    other = json.loads(call("plan", SUITES, "--endpoint=http://b:1")[1])
    assert one["plan_digest"] != other["plan_digest"]


def test_a_full_plan_shows_every_default(call):
    plan = json.loads(call("plan", SUITES, "--endpoint=simulator", "--full")[1])["plan"]
    point = next(point for point in plan["points"] if point["id"] == "quickstart/perf/steady/c0008")
    assert point["timeouts"]["request_s"] == 600.0


def test_a_plan_of_a_folder_without_suites_is_a_usage_error(call, tmp_path):
    status, _, err = call("plan", tmp_path)
    assert status == 2
    assert "no suite found" in err


def test_a_broken_suite_is_a_usage_error_that_names_the_line(call, tmp_path):
    (tmp_path / "bad.yaml").write_text("suite: bad\ndeployment: {api: openai-chta, model: m}\nperf: {}\n")
    status, _, err = call("plan", tmp_path)
    assert status == 2
    assert "bad.yaml:2:" in err
    assert "openai-chat" in err


@pytest.mark.parametrize("what", ["suite", "verdict", "evidence", "summary"])
def test_a_schema_is_a_valid_json_schema(call, what):
    status, out, _ = call("schema", what)
    assert status == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(out))


def test_a_starter_folder_is_valid_under_the_published_schema(call, tmp_path):
    status, out, _ = call("init", tmp_path / "bench")
    assert status == 0
    assert "next: pytest" in out
    schema = json.loads(call("schema")[1])
    jsonschema.validate(yaml.safe_load((tmp_path / "bench" / "chat.yaml").read_text()), schema)


def test_a_starter_folder_never_replaces_a_file(call, tmp_path):
    (tmp_path / "chat.yaml").write_text("mine")
    status, _, err = call("init", tmp_path)
    assert status == 2
    assert "already there" in err
    assert (tmp_path / "chat.yaml").read_text() == "mine"
    assert not (tmp_path / "test_perf.py").exists()


def test_a_starter_folder_runs_on_the_simulator_as_it_says(call, tmp_path):
    call("init", tmp_path / "bench")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "bench", "--endpoint=simulator", "--results=results", "-k", "c0008"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "results" / "verdict.json").read_text())["status"] == "pass"


def test_serve_answers_until_it_is_stopped():
    command = [Path(sys.executable).with_name("pytest-bench"), "serve", "--port", "0", "--model", "stand-in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = json.loads(process.stdout.readline())["url"]
        models = httpx.get(f"{url}/v1/models", trust_env=False).json()
        process.terminate()
        assert process.wait(timeout=10) == 0
    assert models["data"][0]["id"] == "stand-in"
