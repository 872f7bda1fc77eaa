"""Calls that are refused at configure: exit status 4, the reason, the correct call, and no green file."""

from __future__ import annotations

import json
import os
import sys

import pytest

NO_PYTHON = "popen//python=/no/such/python"

DANGERS = {
    "--tx without --dist": (["--tx", "popen"], "add --dist load"),
    "-n with --tx": (["-n1", "--tx", NO_PYTHON, "--dist", "load"], "give only one of -n and --tx"),
    "--dist each": (["--dist", "each", "--tx", "2*popen"], "use --dist load"),
    "no JUnit file": (["-p", "no:junitxml"], "remove it"),
    "--assert=plain": (["--assert=plain"], "without --assert=plain"),
    "--assert=plain, xdist": (["-n2", "--assert=plain"], "without --assert=plain"),
    "malformed -k": (["-k", "one and"], "expected names joined by"),
    "malformed -k, xdist": (["-n2", "-k", "one ="], "at column 5"),
    "malformed -m": (["-m", "(points"], "expected names joined by"),
    "malformed -m, xdist": (["-n2", "-m", "(points"], "expected names joined by"),
    "simulator among URLs": (
        ["--endpoint=simulator", "--endpoint=http://h:1"],
        "must be the only --endpoint",
    ),
    "not a URL": (["--endpoint=h:1"], "expected a URL"),
    "no expectation": (["--expect", "none.json"], "none.json: cannot be read"),
    "no scale": (["--duration-scale", "0"], "greater than 0"),
}


@pytest.mark.parametrize("name", DANGERS)
def test_a_dangerous_call_is_refused_with_the_right_one(folder, name):
    args, remedy = DANGERS[name]
    ran = folder.run(*args)
    assert ran.status == 4, ran.output
    assert remedy in ran.output
    assert "Traceback" not in ran.output
    assert (ran.verdict["status"], ran.verdict["refused"]) == ("error", True)
    assert ran.junit == {"session::integrity": "error"}
    assert not (ran.results / "points").exists()


@pytest.mark.parametrize("how", ["-O", "PYTHONOPTIMIZE"])
def test_a_python_that_skips_assertions_is_refused(folder, how, workers):
    if how == "PYTHONOPTIMIZE":
        folder.environ["PYTHONOPTIMIZE"] = "1"
    ran = folder.run(workers, python=("-O",) if how == "-O" else ())
    assert ran.status == 4
    assert "-O" in ran.output
    assert ran.verdict["refused"]
    assert ran.junit == {"session::integrity": "error"}


def test_an_xdist_worker_that_skips_assertions_is_red(folder):
    folder.write("python-O", f'#!/bin/sh\nexec "{sys.executable}" -O "$@"\n').chmod(0o755)
    ran = folder.run("--dist", "load", "--tx", f"popen//python={folder.root}/python-O")
    assert (ran.status, ran.verdict["status"]) == (1, "error")
    assert "optimized" in ran.faults
    assert ran.junit["session::integrity"] == "error"


@pytest.mark.parametrize("where", ["option", "ini"])
def test_reruns_are_refused(folder, where, workers):
    folder.write(
        "conftest.py",
        """
        def pytest_addoption(parser):
            parser.addoption("--reruns", type=int)
            parser.addini("reruns", "")
        """,
    )
    if where == "ini":
        folder.edit("pytest.ini", "[pytest]", "[pytest]\nreruns = 2")
    ran = folder.run(workers, *(["--reruns=2"] if where == "option" else []))
    assert (ran.status, ran.verdict["refused"]) == (4, True)
    assert ran.junit == {"session::integrity": "error"}
    assert "measured once" in ran.output


SHADOWS = {
    "conftest.py": "import pytest\n@pytest.fixture\ndef deployment(): return 1\n",
    "bench/conftest.py": "from pytest import fixture\n@fixture(name='point')\ndef other(): return 1\n",
    "bench/test_perf.py": "import pytest\n@pytest.fixture(scope='session')\ndef run_load(): return 1\n"
    "@pytest.mark.points('perf')\ndef test_perf(point, deployment, run_load): pass\n",
}


@pytest.mark.parametrize("file", SHADOWS)
def test_a_fixture_that_shadows_a_public_one_is_refused(folder, file, workers):
    folder.write(file, SHADOWS[file])
    ran = folder.run(workers)
    assert ran.status == 4, ran.output
    assert f"{file}:" in ran.output
    assert "rename it" in ran.output


def test_a_plugin_whose_fixture_shadows_a_public_one_is_refused(folder):
    folder.write("shadow.py", "import pytest\n@pytest.fixture\ndef deployment(): return 1\n")
    folder.environ["PYTHONPATH"] = f"{folder.root}:{folder.environment().get('PYTHONPATH', '')}"
    folder.write("bench/conftest.py", "from shadow import deployment\n")
    for workers in ("-n0", "-n2"):
        ran = folder.run(workers)
        assert ran.status == 4, ran.output
        assert ran.verdict["refused"]


def test_a_fixture_of_the_same_name_in_another_folder_is_allowed(folder):
    folder.write("unit/conftest.py", SHADOWS["conftest.py"])
    folder.write("unit/test_unit.py", "def test_unit(deployment): assert deployment == 1\n")
    ran = folder.run("-n0", "unit", "bench")
    ran.require(0, "pass", one="pass", two="pass")


@pytest.mark.parametrize("how", ["-p no:", "autoload off"])
def test_a_call_without_the_plugin_is_refused_by_required_plugins(folder, how, workers):
    args = ["-p", "no:inference_bench"]
    if how == "autoload off":
        folder.edit("pytest.ini", "addopts = -p no:cacheprovider -p no:hypothesispytest -p no:anyio", "")
        folder.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        args = ["-p", "xdist.plugin"]
    ran = folder.run(*args, workers, results=None)
    assert ran.status == 4
    assert "Missing required plugins: pytest-inference-bench" in ran.output
    assert (ran.verdict, ran.junit) == (None, None)


@pytest.mark.parametrize("name", ["verdict.json", "events/main.jsonl", "points/junit.xml"])
def test_a_junit_file_in_the_place_of_evidence_is_refused(folder, name, workers):
    ran = folder.run(workers, "--junitxml", f"used/{name}", results="used")
    assert ran.status == 4, ran.output
    assert "use junit.xml" in ran.output
    assert json.loads((folder.root / "used/verdict.json").read_text())["refused"]
    assert not (folder.root / "used/points").exists()


@pytest.mark.parametrize("option", ["-n0", "-n2", "--no-such-option"])
def test_a_junit_file_that_is_a_pipe_or_a_device_is_refused_and_stays_one(folder, option):
    """As root, a file that replaces /dev/null would be one for everybody."""
    os.mkfifo(folder.root / "pipe")
    ran = folder.run(option, "--junitxml=pipe")
    assert ran.status == 4, ran.output
    assert (folder.root / "pipe").is_fifo()
    assert ran.verdict is None or ran.verdict["refused"]


def test_without_xdist_points_run_in_one_process(folder):
    folder.run("-p", "no:xdist").require(0, "pass", one="pass", two="pass")


def test_the_simulator_is_red_under_complete_unless_named_on_the_command_line(folder, workers):
    folder.endpoint = "simulator"
    ran = folder.run(workers, "--complete")
    ran.require(1, "error", one="error", two="error")
    assert ran.reasons("tiny/perf/one") == ["simulator"]


def test_the_simulator_is_red_with_an_expectation_unless_named_on_the_command_line(folder, workers):
    folder.endpoint = "simulator"
    folder.write("expect.json", json.dumps({"points": ["tiny/perf/one"]}))
    ran = folder.run(workers, "-k", "one", "--expect", "expect.json")
    ran.require(1, "error", one="error")


def test_the_simulator_named_on_the_command_line_is_accepted(folder):
    ran = folder.run("-n0", "--complete", "--endpoint=simulator")
    ran.require(0, "pass", one="pass", two="pass")
    assert all("simulator" in point["labels"] for point in ran.verdict["points"])


def test_a_point_without_bounds_is_red_under_complete(folder):
    text = (folder.root / "bench/tiny.yaml").read_text()
    folder.write("bench/tiny.yaml", text.replace('    bounds: {request_latency.p99: "<= 60s"}\n', "", 1))
    folder.run("-n0", "-k", "one").require(0, "pass", one="pass")
    ran = folder.run("-n0", "--complete", "--endpoint=simulator")
    ran.require(1, "error", one="error", two="pass")
    assert ran.reasons("tiny/perf/one") == ["unbounded"]


INFORMATIONAL = [
    ["--collect-only"],
    ["--collect-only", "-n2"],
    ["--setup-plan"],
    ["--setup-plan", "-n2"],
    ["--fixtures"],
]


@pytest.mark.parametrize("args", INFORMATIONAL, ids=" ".join)
def test_an_informational_call_writes_nothing_and_leaves_a_named_junit_file_red(folder, args):
    ran = folder.run(*args, "--junitxml=named.xml", results=None)
    assert ran.status == 0, ran.output
    assert not (folder.root / "results").exists()
    if "--fixtures" in args:
        assert "run_load" in ran.output
    else:
        assert "-n2" in args or "tiny/perf/one" in ran.output
        assert set(ran.junit.values()) == {"error"}


@pytest.mark.parametrize("args", [[*args, "-k", "one and"] for args in INFORMATIONAL], ids=" ".join)
def test_an_informational_call_with_a_malformed_expression_is_a_usage_error(folder, args):
    ran = folder.run(*args, results=None)
    assert ran.status == 4, ran.output
    assert "-k 'one and': at column" in ran.output
    assert "Traceback" not in ran.output
    assert "INTERNALERROR" not in ran.output
    assert not (folder.root / "results").exists()


@pytest.mark.parametrize("option", ["--help", "--markers", "--cache-show"])
def test_help_is_there_even_beside_a_broken_suite(folder, option):
    folder.write("bench/tiny.yaml", "suite: [\n")
    folder.edit("pytest.ini", "-p no:cacheprovider ", "")
    ran = folder.run(option, results=None)
    assert ran.status == 0, ran.output
    assert not (folder.root / "results").exists()
