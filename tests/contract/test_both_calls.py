"""Every row of the table in docs/explanation/fail-closed-contract.md, under `pytest-bench run`.

The other modules of this folder test the rows under `pytest`.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

import pytest
from test_full_disk import fill, small_disk  # noqa: F401 # a fixture
from test_other_plugins import ENDS, SWALLOWS_CALL
from test_point_rows import spoil

PAGE = Path(__file__).parents[2] / "docs/explanation/fail-closed-contract.md"

ROWS = {}
"""What does what a row says, by the beginning of the row: prepares the folder and returns the arguments of the call."""

OUTSIDE = "tests/contract/test_judged_from_outside.py::"
ELSEWHERE = {
    "`-k` selects nothing": OUTSIDE
    + "test_a_call_that_cannot_be_good_is_red_and_no_earlier_file_stays_green",
    "a conftest.py that cannot be imported": OUTSIDE + "test_a_conftest_cannot_make_it_green",
    "an option of this plugin has an empty value": (
        OUTSIDE + "test_a_call_that_cannot_be_good_is_red_and_no_earlier_file_stays_green"
    ),
    "`sys.exit()` while a conftest.py is imported": OUTSIDE + "test_a_conftest_cannot_make_it_green",
    "another plugin handles the command line": OUTSIDE + "test_a_conftest_cannot_make_it_green",
    "`os._exit()`, a crash or `kill -9`": OUTSIDE + "test_a_test_that_ends_the_process_is_red_and_never_0",
    "the same after the session has ended": OUTSIDE + "test_a_conftest_cannot_make_it_green",
    "`-p no:junitxml`": OUTSIDE + "test_a_part_that_is_switched_off_is_red_unless_it_is_not_needed",
    "`-p no:inference_bench`": OUTSIDE + "test_a_plugin_that_is_not_loaded_at_all_is_red",
    "a results folder that is not empty": OUTSIDE + "test_a_used_folder_is_refused_and_its_verdict_set_aside",
    "with `--slurm`, a node is lost": (
        "tests/cluster/test_slurm_sessions.py::test_a_lost_node_makes_the_session_red_and_is_named"
    ),
}
"""Rows that other modules test under `pytest-bench run`, by their beginning: the test."""

RED, REFUSED = 1, 2
"""Exit status of `pytest-bench run`."""


def row(begins, status=RED):
    def add(prepare):
        ROWS[begins] = (status, prepare)
        return prepare

    return add


@row("a word of `-m` is not a marker")
def unknown_marker(folder):
    return ["-m", "pionts"]


@row("a malformed `-k` under xdist", REFUSED)
def malformed(folder):
    return ["-n2", "-k", "one and"]


@row("`--slurm` outside of an allocation", REFUSED)
def slurm(folder):
    return ["--slurm"]


@row("an option of this plugin is given, but no suite", REFUSED)
def no_suite(folder):
    folder.write("other/test_other.py", "def test_other(): pass\n")
    return ["other", "--complete"]


@row("`--collect-only`, `--help` or the like with", REFUSED)
def collects_with_a_gate(folder):
    return ["--collect-only", "--complete"]


@row("`skip`, `importorskip` or `xfail` of a point")
def skipped(folder):
    spoil(folder, "@pytest.mark.skip")
    return []


@row("`pytest.exit(returncode=0)` at any time")
def status_set_to_0(folder):
    folder.edit("bench/tiny.yaml", '"<= 60s"', '">= 1h"')
    folder.write(
        "conftest.py",
        ENDS % ("@pytest.hookimpl(trylast=True)", "pytest_sessionfinish(session)", "session.exitstatus = 0"),
    )
    return []


@row("`sys.exit()` in a hook or clean-up")
def exits_after_the_tests(folder):
    folder.write("conftest.py", ENDS % ("", "pytest_unconfigure()", "raise SystemExit(0)"))
    return []


@row("another plugin turns a failed assertion")
def swallowed(folder):
    folder.write("conftest.py", SWALLOWS_CALL)
    folder.edit("bench/test_perf.py", "run_load().require()", "run_load(); assert False")
    return []


@row("a hook raises after the tests")
def hook_raises(folder):
    folder.write("conftest.py", "def pytest_sessionfinish(): raise RuntimeError\n")
    return []


@row("`--reruns`, `--count`", REFUSED)
def reruns(folder):
    folder.write(
        "conftest.py", "def pytest_addoption(parser): parser.addoption('--reruns', type=int, default=2)\n"
    )
    return []


@row("`-x`, `--maxfail`, `--setup-only`")
def first_failure(folder):
    folder.edit("bench/tiny.yaml", '"<= 60s"', '">= 1h"')
    return ["-x"]


@row("`--collect-only`, `--setup-plan` alone", REFUSED)
def collects_alone(folder):
    return ["--setup-plan"]


@row("`--help`, `--fixtures` and the like alone", REFUSED)
def shows_alone(folder):
    return ["--fixtures"]


@row("an xdist worker dies")
def worker_dies(folder):
    folder.edit("bench/test_perf.py", "run_load().require()", "import os; run_load(); os._exit(0)")
    return ["-n1", "--max-worker-restart=0"]


@row("`PYTEST_ADDOPTS` of a worker selects tests")
def worker_selects(folder):
    folder.write("conftest.py", "import os\nos.environ['PYTEST_ADDOPTS'] = '-k other'\n")
    return ["-n1"]


@row("`--tx` without `--dist`", REFUSED)
def lost_workers(folder):
    return ["--tx", "popen"]


@row("no endpoint", REFUSED)
def no_endpoint(folder):
    folder.endpoint = ""
    return []


@row("the simulator, although the command line")
def simulator(folder):
    folder.endpoint = "simulator"
    return ["--complete"]


@row("`--duration-scale` in `PYTEST_ADDOPTS`")
def shortened(folder):
    folder.edit("bench/tiny.yaml", "requests: 2}", "duration_s: 0.2}")
    folder.environ["PYTEST_ADDOPTS"] = "--duration-scale=0.5"
    return ["--complete", "--endpoint=simulator"]


@row("`python -O`, `--assert=plain`", REFUSED)
def no_assertions(folder):
    return ["--assert=plain"]


@row("`--junitxml` names a file of the evidence", REFUSED)
def junit_in_the_evidence(folder):
    return ["--junitxml", "results-1/points/junit.xml"]


@row("two concurrent sessions", REFUSED)
def folder_in_use(folder):
    (folder.root / "results-1").mkdir()
    folder.lock = os.open(folder.root / "results-1/.session", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    fcntl.flock(folder.lock, fcntl.LOCK_EX)
    return []


@row("the disk is full")
def full_disk(folder):
    fill(folder, requests=2000)
    folder.prefix = ("bash", "-c", 'ulimit -f 400; exec "$@"', "-")
    return []


def rows_of_the_page():
    table = PAGE.read_text(encoding="utf-8").partition("| event | exit status of plain pytest |")[2]
    lines = table.partition("\n\n")[0].splitlines()[2:]
    return [re.split(r" \| ", line.removeprefix("| "))[0] for line in lines]


@pytest.mark.parametrize("begins", ROWS)
def test_a_row_of_the_contract_holds_under_run(folder, begins):
    folder.points = ("one",)
    folder.__post_init__()
    status, prepare = ROWS[begins]
    args = prepare(folder)
    workers = [] if any(arg.startswith(("-n", "--tx")) for arg in args) else ["-n0"]
    in_use = hasattr(folder, "lock")
    ran = folder.run(*workers, *args, judged=True, prefix=getattr(folder, "prefix", ()))
    if in_use:
        os.close(folder.lock)
    assert ran.status == status, ran.output
    assert "Traceback" not in ran.output or status == RED
    assert in_use or ran.verdict is not None, ran.output
    assert ran.verdict is None or ran.verdict["status"] not in {"pass", "inconclusive"}
    assert ran.junit is None or {"error", "failure"} & set(ran.junit.values()), ran.junit_text
    if status == REFUSED:
        assert not (ran.results / "points").exists()
        assert in_use or ran.verdict["refused"]


def test_every_row_of_the_contract_is_tested_under_run():
    page = rows_of_the_page()
    assert len(page) > 30
    for event in page:
        known = [begins for begins in (*ROWS, *ELSEWHERE) if event.startswith(begins)]
        assert len(known) == 1, event
    assert len(page) == len(ROWS) + len(ELSEWHERE)
    for test in ELSEWHERE.values():
        module, _, name = test.rpartition("::")
        text = (PAGE.parents[2] / module).read_text(encoding="utf-8")
        assert f"\ndef {name}(" in text, test
