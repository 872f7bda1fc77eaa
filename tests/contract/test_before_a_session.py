"""Calls that end before a session is opened leave red files."""

from __future__ import annotations

import json

import pytest
from bench_folder import read_junit

EARLIER = {
    "status": "pass",
    "version": 2,
    "coverage": {"complete": True},
    "nonce": "earlier",
    "points": [{"id": "tiny/perf/one", "outcome": "pass"}],
}
GREEN = """<testsuites><testsuite tests="1" failures="0" errors="0" skipped="0">
<testcase classname="tiny.perf" name="tiny/perf/one" /></testsuite></testsuites>"""
AS_IT_IS = ["-c", "pytest.ini"]
"""Names a file that is there, so that `bench` is not added to the call."""

CONFTESTS = {
    "syntax error": "def (:\n",
    "import error": "import no_such_module\n",
    "option twice": "def pytest_addoption(parser): parser.addoption('--endpoint')\n",
    "leaves": "import sys\nsys.exit(0)\n",
    "other plugin": "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_configure(): raise TypeError\n",
}
CALLS = {
    "unknown option": [*AS_IT_IS, "--no-such-option"],
    "unknown option before a path": ["--no-such-option", "value", "bench"],
    "a word for a number": ["--duration-scale=fast", "bench"],
    "a word for a number, no path": [*AS_IT_IS, "-n", "many"],
    "no value": ["bench", "--load-seed"],
    "misspelt folder": [*AS_IT_IS, "benhc"],
    "misspelt file": [*AS_IT_IS, "bench/test_pref.py"],
    "a suite's file": [*AS_IT_IS, "bench/tiny.yaml"],
}


@pytest.fixture
def used(folder):
    """A folder with an earlier session's good files under the names that a call gives again."""
    folder.write("used/verdict.json", json.dumps(EARLIER))
    folder.write("used/junit.xml", GREEN)
    folder.write("ci.xml", GREEN)
    return folder


def files(folder):
    left_alone = {"__pycache__", "runtime", "bytecode"}
    return {
        path.relative_to(folder.root): path.read_bytes()
        for path in folder.root.rglob("*")
        if path.is_file() and not left_alone & set(path.parts)
    }


def require_red(ran):
    assert ran.status not in {0, 5}, ran.output
    assert (ran.verdict["status"], ran.verdict["refused"]) == ("error", True), ran.output
    assert ran.junit == {"session::integrity": "error"}


@pytest.mark.parametrize("name", CONFTESTS)
def test_a_conftest_that_cannot_be_loaded_leaves_red_files(used, name, workers):
    used.write("conftest.py", CONFTESTS[name])
    ran = used.run(workers, "--junitxml=ci.xml", results="new")
    assert ran.status not in {0, 5}, ran.output
    assert ran.verdict["status"] != "pass"
    assert set(ran.junit.values()) == {"error"}
    if name == "other plugin":
        assert "TypeError" in ran.junit_text
    elif name != "option twice":
        require_red(ran)


@pytest.mark.parametrize("name", CALLS)
def test_a_usage_error_leaves_no_earlier_file_green(used, name):
    ran = used.run(*CALLS[name], "--junitxml=ci.xml", results="used")
    assert ran.status == 4, ran.output
    require_red(ran)
    kept = json.loads((ran.results / "verdict.earlier.json").read_text())
    assert kept == EARLIER
    assert (used.root / "used/junit.earlier.xml").read_text() == GREEN


def test_a_missing_plugin_that_is_required_leaves_no_earlier_file_green(used):
    used.edit("pytest.ini", "pytest-inference-bench", "pytest-inference-bench pytest-no-such-thing")
    require_red(used.run("-n0", "--junitxml=ci.xml", results="used"))


def test_a_conftest_that_ends_the_process_leaves_red_files(used):
    used.write("conftest.py", "import os\nos._exit(0)\n")
    ran = used.run("-n0", "--junitxml=ci.xml", results="new")
    assert ran.status == 0, "the process was killed, so its own exit status counts"
    assert (ran.verdict["status"], ran.junit) == ("incomplete", {"session::integrity": "error"})


def test_a_plugin_that_answers_for_pytest_is_red(used):
    used.write(
        "conftest.py",
        "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_cmdline_main(): return 0\n",
    )
    ran = used.run("-n0", "--junitxml=ci.xml", results="new")
    assert (ran.status, ran.verdict["status"]) == (1, "error")
    assert ran.junit == {"session::integrity": "error"}


def test_a_call_with_a_broken_conftest_takes_neither_a_folder_nor_latest(folder):
    folder.run("-n0", "-k", "one", results=None).require(0, "pass", one="pass")
    before = sorted((folder.root / "results").iterdir())
    folder.write("conftest.py", CONFTESTS["syntax error"])
    ran = folder.run("-n0", results=None)
    assert (ran.status, ran.verdict["status"]) == (4, "pass")
    assert sorted((folder.root / "results").iterdir()) == before


def test_a_junit_file_is_found_by_the_name_that_pytest_reads(used):
    used.environ["WHERE"] = str(used.root)
    used.write("conftest.py", "import os\nos._exit(0)\n")
    used.run("-n0", "--junitxml=$WHERE/ci.xml", results=None)
    assert read_junit(used.root / "ci.xml") == {"session::integrity": "error"}


def test_a_call_that_a_worker_of_xdist_starts_is_a_call_like_any_other(used):
    used.environ["PYTEST_XDIST_WORKER"] = "gw0"
    require_red(used.run("-n0", "--no-such-option", "--junitxml=ci.xml", results="used"))


def test_a_worker_of_xdist_leaves_files_to_the_process_that_was_called(used):
    used.write(
        "conftest.py", "import os\nif 'PYTEST_XDIST_WORKER' in os.environ: raise RuntimeError('only here')\n"
    )
    ran = used.run("-n2", results=None)
    assert (ran.status, ran.verdict["refused"]) == (1, False), ran.output
    (only,) = [path for path in (used.root / "results").iterdir() if not path.is_symlink()]
    assert only == ran.results.resolve()


def test_a_package_is_not_a_misspelt_path(used):
    used.write("elsewhere/package/test_it.py", "def test_it(): pass\n")
    used.write("elsewhere/package/__init__.py", "")
    used.environ["PYTHONPATH"] = f"{used.root / 'elsewhere'}:{used.environment().get('PYTHONPATH', '')}"
    before = files(used)
    ran = used.run(*AS_IT_IS, "--pyargs", "package", "--junitxml=own.xml", results=None)
    assert ran.status == 0, ran.output
    assert read_junit(used.root / "own.xml") == {"elsewhere.package.test_it::test_it": "pass"}
    (used.root / "own.xml").unlink()
    assert files(used) == before


TAKES_ANY = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(session):
        session.items = []
        return session.items

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session):
        session.testscollected = 1
        return True
"""


def test_a_misspelt_path_that_a_plugin_hides_is_not_status_0(used):
    used.write("conftest.py", TAKES_ANY)
    ran = used.run(*AS_IT_IS, "-n0", "benhc", "--junitxml=ci.xml", results="used")
    assert ran.status == 4, ran.output
    require_red(ran)


@pytest.mark.parametrize("args", [["--help"], ["--markers"], ["--collect-only"]], ids=" ".join)
def test_a_call_that_only_shows_writes_nothing_beside_a_broken_conftest(used, args):
    used.write("conftest.py", CONFTESTS["syntax error"])
    before = files(used)
    used.run(*args, results=None)
    assert files(used) == before


@pytest.mark.parametrize("conftest", ["", CONFTESTS["syntax error"]], ids=["missing file", "broken conftest"])
def test_where_no_suite_was_meant_nothing_is_written(used, conftest):
    used.write("unit/test_unit.py", "def test_unit(): pass\n")
    used.write("unit/conftest.py", conftest)
    before = files(used)
    named = "unit/test_unit.py" if conftest else "unit/test_nuit.py"
    junit = ["--junitxml=ci.xml"] if conftest else []  # of a file that is missing pytest itself writes one
    ran = used.run(*AS_IT_IS, named, *junit, results=None)
    assert ran.status == 4, ran.output
    assert files(used) == before


OURS = {
    "results": ["--results=used"],
    "all gates": ["--endpoint=http://h:1", "--complete", "--expect=none.json", "--results=used"],
    "endpoint": ["--endpoint=http://h:1"],
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("source", ["command line", "environment"])
def test_options_of_ours_without_a_suite_are_a_mistake(used, name, source):
    used.write("unit/test_unit.py", "def test_unit(): pass\n")
    words = [*OURS[name], "--junitxml=ci.xml"]
    if source == "environment":
        used.environ["PYTEST_ADDOPTS"] = " ".join(words)
    ran = used.run("unit", *(words if source == "command line" else []), results=None)
    assert ran.status == 4, ran.output
    assert "contains no suite" in ran.output
    assert read_junit(used.root / "ci.xml") == {"session::integrity": "error"}
    if "--results=used" in words:
        assert json.loads((used.root / "used/verdict.json").read_text())["refused"]


def test_options_of_ours_in_a_configuration_file_are_for_every_call_of_the_repository(used):
    used.edit("pytest.ini", "addopts = ", "addopts = --endpoint=http://h:1 --complete ")
    used.write("unit/test_unit.py", "def test_unit(): pass\n")
    assert used.run("unit", results=None).status == 0


LOOKS = [["--collect-only"], ["--help"], ["--markers"], ["--setup-plan"], ["--version"]]


@pytest.mark.parametrize("gate", ["--results=used", "--complete", "--expect=none.json"])
@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_a_call_that_only_shows_is_refused_beside_an_option_that_promises_a_verdict(used, look, gate):
    used.environ["PYTEST_ADDOPTS"] = " ".join(look)
    ran = used.run(gate, "--junitxml=ci.xml", results=None)
    assert ran.status == 4, ran.output
    assert "has no verdict" in ran.output
    assert read_junit(used.root / "ci.xml") == {"session::integrity": "error"}
    if gate == "--results=used":
        assert json.loads((used.root / "used/verdict.json").read_text())["refused"]
