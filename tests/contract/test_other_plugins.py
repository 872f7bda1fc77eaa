"""Hooks of other plugins that raise, swallow failures, or set the exit status cannot make a session green."""

from __future__ import annotations

import pytest

SWALLOWS_REPORT = """
    import pytest

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        report.outcome, report.longrepr = "passed", None
        return report
"""

SWALLOWS_CALL = """
    import pytest

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(pyfuncitem):
        try:
            return (yield)
        except AssertionError:
            return True
"""

REWRITES_REPORT = """
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(report):
        report.outcome, report.longrepr = "passed", None
"""


@pytest.fixture
def folder(folder):
    """One point is enough."""
    folder.points = ("one",)
    folder.__post_init__()
    return folder


@pytest.mark.parametrize("conftest", [SWALLOWS_REPORT, SWALLOWS_CALL, REWRITES_REPORT])
def test_a_failed_assertion_that_another_plugin_swallows_makes_its_point_an_error(folder, conftest, workers):
    folder.write("conftest.py", conftest)
    folder.edit("bench/test_perf.py", "run_load().require()", "run_load(); assert False")
    ran = folder.run(workers)
    ran.require(1, "error", one="error")
    assert "contradiction" in ran.reasons("tiny/perf/one")


IN_WORKERS = """
    import os
    import pytest

    %s
        %s
        if "PYTEST_XDIST_WORKER" in os.environ:
            %s
"""
OUTERMOST = "@pytest.hookimpl(wrapper=True, tryfirst=True)\n    "
RAISES = "raise RuntimeError('too late')"


@pytest.mark.parametrize(
    ("hook", "first", "ends"),
    [
        ("def pytest_sessionfinish():", "", RAISES),
        (f"{OUTERMOST}def pytest_sessionfinish():", "yield", RAISES),
        (f"{OUTERMOST}def pytest_sessionfinish():", "yield", "os._exit(0)"),
        ("def pytest_unconfigure():", "", RAISES),
    ],
    ids=["finish", "after xdist's finish", "dies after xdist's finish", "unconfigure"],
)
def test_a_worker_whose_session_does_not_end_well_makes_the_session_red(folder, hook, first, ends):
    folder.write("conftest.py", IN_WORKERS % (hook, first, ends))
    folder.write("bench/conftest.py", (folder.root / "conftest.py").read_text())
    ran = folder.run("-n2")
    ran.require(1, "error", one="pass")
    assert "worker-crashed" in ran.faults


@pytest.mark.parametrize(
    ("hook", "args"),
    [
        ("def pytest_sessionfinish(): raise RuntimeError", ()),
        ("def pytest_terminal_summary(): raise RuntimeError", ()),
        ("def pytest_unconfigure(): raise RuntimeError", ()),
        ("import warnings\ndef pytest_collection_finish(): warnings.warn('hey')", ("--max-warnings=0",)),
    ],
    ids=["finish", "summary", "unconfigure", "warnings"],
)
def test_the_verdict_is_never_better_than_the_exit_status(folder, hook, args, workers):
    folder.write("conftest.py", hook)
    ran = folder.run(workers, *args)
    assert ran.status != 0
    assert ran.verdict["status"] == "error", ran.output
    assert ran.junit["session::integrity"] == "error"
    if workers == "-n0":
        assert ran.junit["tiny.perf::tiny/perf/one"] == "pass"


ENDS = """
    import pytest

    %s
    def %s:
        %s
"""


@pytest.mark.parametrize(
    ("decorator", "hook", "body"),
    [
        ("", "pytest_configure()", "pytest.exit('done', returncode=0)"),
        ("", "pytest_sessionfinish()", "pytest.exit('done', returncode=0)"),
        ("@pytest.hookimpl(trylast=True)", "pytest_sessionfinish(session)", "session.exitstatus = 0"),
        ("@pytest.hookimpl(wrapper=True, tryfirst=True)", "pytest_cmdline_main()", "yield; return 0"),
        ("@pytest.hookimpl(wrapper=True, tryfirst=True)", "pytest_cmdline_main()", "yield; return 256"),
        ("@pytest.hookimpl(wrapper=True)", "pytest_cmdline_main()", "yield"),
        ("", "pytest_sessionfinish()", "raise SystemExit"),
        ("", "pytest_unconfigure()", "raise SystemExit(0)"),
        ("", "pytest_configure(config)", "import sys; config.add_cleanup(sys.exit)"),
    ],
    ids=[
        *("configure", "finish", "status", "main", "main, a byte's worth", "main, no return"),
        *("finish, sys.exit", "unconfigure, sys.exit", "clean-up, sys.exit"),
    ],
)
def test_the_exit_status_is_never_better_than_the_verdict(folder, decorator, hook, body, workers):
    folder.write("conftest.py", ENDS % (decorator, hook, body))
    folder.edit("bench/tiny.yaml", '"<= 60s"', '">= 1h"')
    ran = folder.run(workers)
    assert ran.status == 1, ran.output
    assert ran.verdict["status"] != "pass"
    assert set(ran.junit.values()) <= {"error", "failure"}


def test_a_plugin_that_leaves_python_when_all_is_well_is_red(folder, workers):
    folder.write("conftest.py", "import sys\ndef pytest_unconfigure(): sys.exit('enough')\n")
    ran = folder.run(workers)
    ran.require(1, "error", one="pass")
    assert "pytest itself failed: SystemExit: enough" in ran.output


@pytest.mark.parametrize(
    "conftest", ["", ENDS % ("@pytest.hookimpl(wrapper=True)", "pytest_cmdline_main()", "yield")]
)
def test_a_call_that_only_collects_keeps_its_exit_status(folder, conftest, workers):
    folder.write("conftest.py", conftest)
    assert folder.run(workers, "--collect-only", results=None).status == 0


def test_any_error_before_a_session_opens_makes_earlier_files_red(folder, workers):
    folder.run("-n0", "--junitxml=ci.xml", results="same").require(0, "pass", one="pass")
    folder.write("conftest.py", "def pytest_bench_audits(): raise TypeError('theirs')\n")
    ran = folder.run(workers, "--junitxml=ci.xml", results="same")
    assert ran.status != 0
    assert ran.verdict["status"] == "error"
    assert ran.junit == {"session::integrity": "error"}


NEVER_ENDS = """
    import os
    import time
    from xdist.workermanage import NodeManager

    NodeManager.EXIT_TIMEOUT = 0.5

    def pytest_unconfigure():
        while "PYTEST_XDIST_WORKER" in os.environ:
            time.sleep(0.01)
"""


def test_workers_that_do_not_end_are_red(folder):
    """xdist kills them in the end; pytest alone would not say so."""
    folder.points = ("one", "two")
    folder.__post_init__()
    folder.write("conftest.py", NEVER_ENDS)
    ran = folder.run("-n2")
    ran.require(1, "error", one="pass", two="pass")
    assert ran.faults == ["worker-crashed", "worker-crashed"]
