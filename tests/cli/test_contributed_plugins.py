"""Commands find audits and APIs of other plugins as pytest does, or report what is missing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_commands import ends

from pytest_bench.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-an-audit.md"
AUDIT = "chat/audit/warm"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The audit of the how-to page beside a starter folder, and results of a session that ran it."""
    root = tmp_path_factory.mktemp("contributed")
    (code,) = re.findall(r"```python\n(# conftest.py.*?)```", PAGE.read_text(), re.DOTALL)
    main(["init", str(root / "bench")])
    (root / "bench" / "conftest.py").write_text(code)
    (root / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
    suite = root / "bench" / "chat.yaml"
    patient = "{achieved_share: 0.01, vacancy: 1, schedule_lateness_ms: 5000, cpu_share: 1.0}"
    audit = f"{{test: warm-latency, of: steady/c0008, requests: 16, slowdown: 50, budget: {patient}}}"
    suite.write_text(f"{suite.read_text()}  warm: {audit}\n")
    command = [sys.executable, "-m", "pytest", "bench", "--endpoint=simulator", "--results=results"]
    done = subprocess.run([*command, "-k", "warm"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return root


@pytest.fixture
def call(bench, capsys, monkeypatch):
    """A command, called where the suites are."""
    monkeypatch.chdir(bench)
    return lambda *words: ends(capsys, *words)


@pytest.fixture
def expectation(call, tmp_path):
    """The expectation of the audit's suites, planned with the plugin."""
    path = tmp_path / "expectation.json"
    words = ("bench", "--endpoint=simulator", "-p", "bench/conftest.py", "--only", AUDIT, "-o", path)
    assert call("plan", *words)[0] == 0
    return path


@pytest.fixture
def installed(bench, tmp_path, monkeypatch):
    """The same audit in a pytest plugin that is installed."""
    (tmp_path / "warm_latency.py").write_text((bench / "bench/conftest.py").read_text())
    metadata = tmp_path / "warm_latency-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: warm-latency\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[pytest11]\nwarm_latency = warm_latency\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("warm_latency", None)


def test_results_of_an_unknown_audit_are_red_with_a_remedy(call):
    status, _, err = call("verify", "results", "--allow-partial")
    assert status == 1
    assert f"points/{AUDIT}/summary.json: is of the audit 'warm-latency', which is not installed" in err
    assert "name its module or file with -p" in err


def test_results_of_a_contributed_audit_verify_where_its_file_is_named(call, expectation):
    words = ("results", "-p", "bench/conftest.py", "--expect", expectation)
    assert call("verify", *words)[::2] == (0, "")


def test_results_of_a_contributed_audit_verify_where_its_module_is_named(bench, call, monkeypatch, tmp_path):
    shutil.copy(bench / "bench/conftest.py", tmp_path / "audits_of_mine.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert call("verify", "results", "-p", "audits_of_mine", "--allow-partial")[::2] == (0, "")
    del sys.modules["audits_of_mine"]


def test_results_of_a_contributed_audit_verify_where_its_plugin_is_installed(call, installed):
    assert call("verify", "results", "--allow-partial")[::2] == (0, "")


def test_results_that_a_contributed_audit_judges_otherwise_are_red(bench, call, tmp_path):
    stricter = (bench / "bench/conftest.py").read_text().replace("passed = ratio", "passed = not ratio")
    (tmp_path / "stricter.py").write_text(stricter)
    status, _, err = call("verify", "results", "-p", tmp_path / "stricter.py", "--allow-partial")
    assert (status, "judgement.outcome is 'pass'; recomputed it is 'fail'" in err) == (1, True), err


def test_a_contributed_audit_that_raises_is_red_without_a_traceback(bench, call, tmp_path):
    broken = (bench / "bench/conftest.py").read_text().replace("passed = ratio", "passed = 1 / 0 < ratio")
    (tmp_path / "broken.py").write_text(broken)
    status, _, err = call("verify", "results", "-p", tmp_path / "broken.py", "--allow-partial")
    assert (status, "the audit 'warm-latency' failed: ZeroDivisionError: " in err) == (1, True), err


def test_a_contributed_audit_can_be_reused(call, expectation):
    words = ("verify", "--expect", expectation, "--reuse", "results")
    status, out, _ = call(*words, "-p", "bench/conftest.py")
    assert (status, f"reused: {AUDIT} from results" in out) == (0, True)
    assert call(*words)[0] == 1


def test_a_plan_of_a_contributed_audit_is_that_of_the_session(bench, call, expectation):
    found = json.loads(expectation.read_text())["points"]
    points = json.loads((bench / "results/verdict.json").read_text())["points"]
    assert found == {point["id"]: point["digest"] for point in points}


def test_a_plan_without_the_plugin_names_the_known_audits(call):
    status, _, err = call("plan", "bench", "--endpoint=simulator")
    assert (status, "warm-latency" in err, "output-caching" in err) == (2, True, True), err


def test_the_schema_of_suites_knows_the_words_of_a_plugin(call):
    assert "warm-latency" in call("schema", "-p", "bench/conftest.py")[1]
    assert "warm-latency" not in call("schema")[1]


def test_an_api_of_a_plugin_is_known_to_plan(call, tmp_path):
    hook = "def pytest_bench_apis():\n    return {'theirs': 'pytest_bench.api.openai_chat:OpenAIChat'}\n"
    (tmp_path / "apis.py").write_text(hook)
    suites = shutil.copytree("bench", tmp_path / "suites")
    suite = suites / "chat.yaml"
    suite.write_text(suite.read_text().replace("api: openai-chat", "api: theirs"))
    words = ("plan", suites, "-p", "bench/conftest.py")
    assert call(*words)[0] == 2
    assert call(*words, "-p", tmp_path / "apis.py")[0] == 0


@pytest.mark.parametrize(
    "code",
    [
        None,
        "import nothing_of_this_name",
        "raise ValueError('at import')",
        "def pytest_bench_audits():\n    raise KeyError('in the hook')",
        "def pytest_bench_audits():\n    return 1",
        "def pytest_bench_audits():\n    return [1]",
        "from pytest_bench.audits.registry import SHIPPED\ndef pytest_bench_audits():\n    return SHIPPED[:1]",
        "def (",
    ],
)
@pytest.mark.parametrize("command", [("verify", "results"), ("plan", "bench")])
def test_a_plugin_that_cannot_be_loaded_is_a_usage_error(call, tmp_path, command, code):
    path = tmp_path / "plugin.py"
    if code is not None:
        path.write_text(code)
    status, _, err = call(*command, "-p", path)
    assert (status, "Traceback" in err) == (2, False)


def test_a_folder_of_lmeval_has_no_use_for_a_plugin(call, tmp_path):
    (tmp_path / "meta_env.json").write_text("{}")
    status, _, err = call("verify", tmp_path, "-p", "anything")
    assert (status, "-p: only for results of a session" in err) == (2, True)
