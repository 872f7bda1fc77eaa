"""The user's own selection makes a session partial; any other absence of a point makes it red."""

from __future__ import annotations

import json

import pytest

SIMULATOR = "--endpoint=simulator"
"""Said outright, where only a model would do otherwise."""

SELECTIONS = {
    "-k": ["-k", "one"],
    "-m": ["-m", "points and not slow"],
    "--deselect": ["--deselect", "bench/test_perf.py::test_perf[tiny/perf/two]"],
    "node id": ["bench/test_perf.py::test_perf[tiny/perf/one]"],
}
SLOW = """
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            if "two" in item.name:
                item.add_marker(pytest.mark.slow)

    def pytest_configure(config):
        config.addinivalue_line("markers", "slow: takes long")
"""


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_selection_by_the_user_is_partial_and_names_the_excluded_points(folder, name, workers):
    if name == "-m":
        folder.write(
            "conftest.py",
            SLOW.replace(
                "def pytest_collection", "@pytest.hookimpl(tryfirst=True)\n    def pytest_collection"
            ),
        )
    ran = folder.run(workers, *SELECTIONS[name])
    ran.require(0, "pass", one="pass")
    assert ran.verdict["coverage"] == {"complete": False, "left_out": ["tiny/perf/two"]}
    assert "PARTIAL" in ran.output
    assert "tiny/perf/two" in ran.output


@pytest.mark.parametrize(
    "arg", ["bench/test_other.py", "--ignore=bench/test_perf.py", "--ignore-glob=*test_perf*"]
)
def test_a_file_that_was_not_named_is_excluded_by_the_user(folder, arg, workers):
    folder.write("bench/test_other.py", "def test_other(): pass\n")
    ran = folder.run(workers, arg)
    ran.require(1, "error")
    assert ran.verdict["coverage"]["left_out"] == ["tiny/perf/one", "tiny/perf/two"]
    assert ran.faults == ["nothing-selected"]


def test_the_last_failed_alone_are_partial(folder, workers):
    folder.edit("pytest.ini", "-p no:cacheprovider ", "")
    folder.edit(
        "bench/test_perf.py", "run_load().require()", 'run_load().require(); assert "two" not in point.name'
    )
    folder.edit("bench/test_perf.py", "(run_load)", "(run_load, point)")
    folder.run("-n0").require(1, "fail", one="pass", two="fail")
    ran = folder.run(workers, "--lf")
    ran.require(1, "fail", two="fail")
    assert ran.verdict["coverage"]["left_out"] == ["tiny/perf/one"]


def test_a_partial_session_is_red_under_complete(folder, workers):
    ran = folder.run(workers, "-k", "one", "--complete", SIMULATOR)
    ran.require(1, "incomplete", one="pass", two="missing")
    assert ran.reasons("tiny/perf/two") == ["left-out"]


def test_a_partial_session_is_red_if_the_expectation_names_an_excluded_point(folder, workers):
    folder.write("expect.json", json.dumps({"points": ["tiny/perf/two"]}))
    ran = folder.run(workers, "-k", "one", "--expect", "expect.json", SIMULATOR)
    ran.require(1, "incomplete", one="pass", two="missing")


def test_a_partial_session_passes_if_it_meets_the_expectation(folder, workers):
    folder.write("expect.json", json.dumps({"points": ["tiny/perf/one"]}))
    folder.run(workers, "-k", "one", "--expect", "expect.json", SIMULATOR).require(0, "pass", one="pass")


def test_a_point_that_only_the_expectation_names_is_missing(folder, workers):
    folder.write("expect.json", json.dumps({"points": ["tiny/perf/one", "tiny/perf/three"]}))
    ran = folder.run(workers, "-k", "one", "--expect", "expect.json", SIMULATOR)
    ran.require(1, "incomplete", one="pass", three="missing")


def test_an_expectation_of_another_plan_is_red(folder, workers):
    points = {"tiny/perf/one": "0" * 64}
    folder.write("expect.json", json.dumps({"points": points, "plan_digest": "1" * 64}))
    ran = folder.run(workers, "-k", "one", "--expect", "expect.json", SIMULATOR)
    ran.require(1, "error", one="error")
    assert ran.faults == ["other-plan"]


def test_a_misspelt_k_is_red_and_suggests_near_names(folder, workers):
    ran = folder.run(workers, "-k", "tniy")
    ran.require(1, "error")
    assert sorted(ran.faults) == ["no-such-name", "nothing-selected"]
    assert "did you mean 'tiny'" in ran.output


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["-k", "one or tow"], "-k 'one or tow': no test is called 'tow'; did you mean 'two'"),
        (["-m", "points or slwo"], "-m 'points or slwo': no marker is called 'slwo'; did you mean 'slow'"),
    ],
    ids=["-k", "-m"],
)
def test_a_misspelt_alternative_is_red_even_if_the_others_select_points(folder, args, sentence, workers):
    folder.write("conftest.py", SLOW)
    ran = folder.run(workers, *args)
    assert (ran.status, ran.verdict["status"]) == (1, "error"), ran.output
    assert ran.faults == ["no-such-name"]
    assert sentence in ran.verdict["faults"][0]["sentence"]
    assert ran.outcomes["tiny/perf/one"] == "pass"


@pytest.mark.parametrize(
    "args",
    [
        ["-k", "one or not tow"],
        ["-k", "one or test_other", "bench"],
        ["-k", "two or one", "bench/test_perf.py::test_perf[tiny/perf/one]"],
        ["-m", "points or slow"],
        ["-m", "not slwo"],
    ],
    ids=" ".join,
)
def test_a_word_that_matches_a_name_is_not_a_misspelling(folder, args):
    folder.write("conftest.py", SLOW)
    folder.write("bench/test_other.py", "def test_other(): pass\n")
    ran = folder.run("-n0", *args)
    assert (ran.status, ran.verdict["status"]) == (0, "pass"), ran.output


@pytest.mark.parametrize(
    "hides",
    [["--ignore=bench/test_other.py"], ["--ignore-glob=*test_other*"], ["--lf"], ["--sw"]],
    ids=" ".join,
)
def test_a_word_may_be_the_name_of_a_test_that_another_option_hides(folder, hides):
    folder.edit("pytest.ini", "-p no:cacheprovider ", "")
    folder.write("bench/test_other.py", "def test_other(): pass\n")
    broken = "run_load().require(); assert False"
    folder.edit("bench/test_perf.py", "run_load().require()", broken)
    folder.run("-n0", "-k", "one")
    folder.edit("bench/test_perf.py", broken, "run_load().require()")
    ran = folder.run("-n0", "-k", "one or test_other", *hides)
    ran.require(0, "pass", one="pass")


SILENT = """
    def pytest_collection_modifyitems(items):
        items[:] = [item for item in items if "two" not in item.name]
"""
ANNOUNCED = """
    def pytest_collection_modifyitems(items, config):
        gone = [item for item in items if "two" in item.name]
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=gone)
"""


def test_an_item_that_another_plugin_removes_silently_is_red(folder, workers):
    folder.write("conftest.py", SILENT)
    ran = folder.run(workers)
    ran.require(1, "error", one="pass", two="error")
    assert ran.reasons("tiny/perf/two") == ["removed"]


@pytest.mark.parametrize("args", [[], ["-k", "tiny"], ["--deselect", "bench/test_perf.py::test_perf[other]"]])
def test_what_another_plugin_deselects_is_not_the_users_selection(folder, args, workers):
    folder.write("conftest.py", ANNOUNCED)
    folder.run(workers, *args).require(1, "error", one="pass", two="error")


def test_a_file_that_a_conftest_ignores_is_red(folder, workers):
    folder.write("conftest.py", "collect_ignore_glob = ['bench/test_perf.py']\n")
    folder.run(workers).require(1, "incomplete", one="missing", two="missing")


HIDES = {
    "ignored by a conftest": ("conftest.py", "collect_ignore_glob = ['bench/test_perf.py']\n"),
    "skipped module": ("bench/test_perf.py", "import pytest\npytest.importorskip('no_such_module')\n%s"),
    "removed by a hook": ("conftest.py", SILENT),
    "announced by a hook": ("conftest.py", ANNOUNCED),
    "no marker": ("bench/test_perf.py", "def test_perf(): pass\n"),
}


@pytest.mark.parametrize("name", HIDES)
@pytest.mark.parametrize("option", ["--lf", "--sw"])
def test_an_option_that_selects_by_the_cache_excuses_only_its_own_choice(folder, name, option):
    """The point `two` failed last time, so the option itself asks for it."""
    folder.edit("pytest.ini", "-p no:cacheprovider ", "")
    good = (folder.root / "bench/test_perf.py").read_text()
    folder.write(
        "bench/test_perf.py",
        good.replace("(run_load)", "(run_load, point)").replace(
            "run_load().require()", 'run_load().require(); assert "two" not in point.name'
        ),
    )
    before = folder.run("-n0", *([option] if option == "--sw" else []))
    assert before.outcomes == {"tiny/perf/one": "pass", "tiny/perf/two": "fail"}
    file, text = HIDES[name]
    folder.write(file, text.replace("%s", good))
    ran = folder.run("-n0", option)
    assert ran.status != 0, ran.output
    assert ran.verdict["status"] != "pass"
    assert ran.outcomes.get("tiny/perf/two") in {"error", "missing"}, ran.output


def test_other_names_of_test_files_are_not_the_users_selection(folder, workers):
    ran = folder.run(workers, "-o", "python_files=other_*.py")
    assert ran.outcomes == {"tiny/perf/one": "missing", "tiny/perf/two": "missing"}
    assert ran.status != 0


@pytest.mark.parametrize("how", ["conftest", "tx"])
def test_a_selection_of_workers_alone_is_not_the_users(folder, how):
    args = ["-n2"]
    if how == "conftest":
        folder.write("conftest.py", "import os\nos.environ['PYTEST_ADDOPTS'] = '-k one'\n")
    else:
        args = ["--dist", "load", "--tx", "popen//env:PYTEST_ADDOPTS=-k one"]
    ran = folder.run(*args)
    assert ran.status == 1, ran.output
    assert ran.outcomes["tiny/perf/two"] == "error"
    assert ran.reasons("tiny/perf/two") == ["removed"]


@pytest.mark.parametrize("source", ["environment", "ini"])
def test_only_the_command_line_itself_asks_for_the_simulator(folder, source):
    if source == "environment":
        folder.environ["PYTEST_ADDOPTS"] = SIMULATOR
    else:
        folder.edit("pytest.ini", "addopts = ", f"addopts = {SIMULATOR} ")
    ran = folder.run("-n0", "--complete")
    ran.require(1, "error", one="error", two="error")
    assert ran.reasons("tiny/perf/one") == ["simulator"]
    assert SIMULATOR in ran.verdict["invocation"][source]
    assert SIMULATOR not in ran.verdict["invocation"]["command_line"]


@pytest.mark.parametrize("source", ["environment", "ini", "command_line"])
def test_only_the_command_line_itself_shortens_a_session_that_must_be_complete(folder, source):
    folder.edit("bench/tiny.yaml", "requests: 2}", "duration_s: 2}")
    word, args = "--duration-scale=0.5", []
    if source == "environment":
        folder.environ["PYTEST_ADDOPTS"] = word
    elif source == "ini":
        folder.edit("pytest.ini", "addopts = ", f"addopts = {word} ")
    else:
        args = [word]
    folder.write("expect.json", json.dumps({"points": ["tiny/perf/one"]}))
    ran = folder.run("-n0", "-k", "one", "--expect", "expect.json", SIMULATOR, *args)
    assert (ran.status, word in ran.verdict["invocation"][source]) == (int(source != "command_line"), True)
    assert ("shortened" in ran.reasons("tiny/perf/one")) == (source != "command_line")
