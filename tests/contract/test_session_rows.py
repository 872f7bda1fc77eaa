"""Ways in which a session ends early, or with the wrong exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from pytest_bench.cli.main import main

EXIT = """
    import os
    import pytest

    @pytest.mark.points("perf")
    def test_perf(run_load, point):
        measured = run_load()
        if point.name == "one":
            %s
        measured.require()
"""


def test_pytest_exit_with_status_0_is_red(folder, workers):
    folder.write("bench/test_perf.py", EXIT % "pytest.exit('done', returncode=0)")
    ran = folder.run(workers)
    assert ran.status == 1, ran.output
    assert ran.verdict["status"] == "error"
    assert ran.outcomes == {"tiny/perf/one": "error", "tiny/perf/two": "missing"}
    assert set(ran.junit.values()) == {"error"}


def test_pytest_exit_before_anything_ran_leaves_red_files(folder, workers):
    folder.write(
        "conftest.py", "import pytest\ndef pytest_sessionstart(): pytest.exit('done', returncode=0)\n"
    )
    ran = folder.run(workers)
    assert (ran.status, ran.verdict["status"]) == (1, "incomplete"), ran.output
    assert set(ran.junit.values()) == {"error"}


def test_a_process_that_ends_itself_leaves_red_files(folder):
    folder.write("bench/test_perf.py", EXIT % "os._exit(0)")
    ran = folder.run("-n0")
    assert ran.status == 0, "the process was killed, so its own exit status counts"
    assert ran.verdict["status"] == "incomplete"
    assert ran.outcomes == {"tiny/perf/one": "missing", "tiny/perf/two": "missing"}
    assert set(ran.junit.values()) == {"error"}
    assert main(["verify", str(ran.results)]) == 1, "the exit status that CI gates on"


READS_COUNTERS = """
import pytest

@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    # As Hypothesis does: everything that is counted is a report.
    for category, reports in terminalreporter.stats.items():
        told = [report.nodeid for report in reports if isinstance(vars(report), dict)]
        terminalreporter.write_line(f"counted as {category}: {told}")
"""


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_points_after_the_first_failure_are_missing(folder, option, workers):
    folder.write("bench/conftest.py", READS_COUNTERS)
    folder.edit("bench/test_perf.py", "run_load().require()", "run_load(); assert False")
    ran = folder.run(workers, option)
    ran.require(1, "incomplete", one="fail", two="missing")
    assert "stopping after 1 failures" in ran.output
    assert "stopping after 2 failures" not in ran.output
    assert "counted as missing: ['tiny/perf/two']" in ran.output


def test_setting_up_alone_is_red(folder, workers):
    ran = folder.run(workers, "--setup-only")
    ran.require(1, "error", one="error", two="error")


def test_a_collection_error_elsewhere_is_red(folder, workers):
    folder.write("bench/test_other.py", "import no_such_module\n")
    ran = folder.run(workers, "--continue-on-collection-errors")
    assert (ran.status, ran.verdict["status"]) == (1, "error")
    assert ran.outcomes == {"tiny/perf/one": "pass", "tiny/perf/two": "pass"}
    assert ran.faults == ["collection-error"]
    assert ran.junit["session::integrity"] == "error"


def test_a_collection_error_of_the_points_is_red(folder, workers):
    folder.write("bench/test_perf.py", "import no_such_module\n")
    ran = folder.run(workers)
    ran.require(1, "error", one="missing", two="missing")
    assert ran.faults == ["collection-error"]
    assert "test_perf.py could not be collected: ModuleNotFoundError: No module named 'no_such" in ran.output


def test_another_failing_test_makes_the_session_red_and_no_point(folder, workers):
    folder.write("bench/test_other.py", "def test_other(): assert False\n")
    ran = folder.run(workers)
    assert (ran.status, ran.verdict["status"], ran.faults) == (1, "error", ["pytest-exit"])
    assert ran.outcomes == {"tiny/perf/one": "pass", "tiny/perf/two": "pass"}
    assert ran.junit["session::integrity"] == "error"


def test_a_function_for_points_beside_no_suite_is_an_error(folder, workers):
    folder.write("bench/other/test_perf.py", (folder.root / "bench/test_perf.py").read_text())
    folder.write("bench/other/docker-compose.yaml", "services: {}\n")
    ran = folder.run(workers)
    assert ran.status != 0
    assert "contains no suite" in ran.output
    assert ran.verdict["status"] in {"error", "incomplete"}
    assert "error" in ran.junit.values()


def test_without_a_suite_the_plugin_does_nothing(folder, tmp_path):
    folder.write("other/test_other.py", "def test_other(point): pass\n")
    folder.write("other/conftest.py", "import pytest\n@pytest.fixture\ndef point(): pass\n")
    folder.write("other/docker-compose.yaml", "services: {}\n")
    before = set(tmp_path.rglob("*"))
    done = subprocess.run(
        folder.command("other", "-q", results=None),
        cwd=folder.root,
        env=folder.environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "inference bench" not in done.stdout
    assert set(tmp_path.rglob("*")) == before


def test_a_marked_function_without_any_suite_is_an_error(folder):
    folder.write("other/test_perf.py", (folder.root / "bench/test_perf.py").read_text())
    done = subprocess.run(
        folder.command("other", results=None),
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "contains no suite" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_session_keeps_what_is_complete_and_leaves_nothing_running(
    folder, workers, number, tmp_path
):
    """The first point ends well; the second would run for minutes; the third never begins."""
    folder.points = ("one", "two", "three")
    folder.__post_init__()
    folder.edit("bench/tiny.yaml", "endpoint: ${ENDPOINT:-}", "endpoint: simulator")
    text = (folder.root / "bench/tiny.yaml").read_text()
    head, second = text.split("  two:\n")
    folder.write("bench/tiny.yaml", f"{head}  two:\n" + second.replace("requests: 2}", "duration_s: 300}", 1))
    mark = uuid.uuid4().hex
    process = folder.start(workers, results=tmp_path / "interrupted", environ={"BENCH_TEST_MARK": mark})
    running = tmp_path / "interrupted/points/tiny/perf/two/phases/measured/requests.0.jsonl"
    wait_for(lambda: running.exists() and running.stat().st_size > 0, process)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # a terminal tells the whole group
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    ran = folder.read(process.returncode, output, tmp_path / "interrupted")
    ran.require(2, "error", one="pass", two="error", three="missing")
    assert ran.verdict["interrupted"]
    assert ran.faults == ["interrupted"], "the exit status of pytest is not a separate fault"
    assert ran.reasons("tiny/perf/two") == ["cut-off"]
    told = [line for line in output.splitlines() if "tiny/perf/three" in line]
    assert len(told) == 2, "in the table, and below it with the reason"
    assert "1 passed, 1 missing" in output
    assert "1 of 3 selected points finished" in output
    assert "coverage complete" not in output
    assert running.stat().st_size > 0
    wait_for(lambda: not marked(mark), None)


def wait_for(condition, process, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, marked("BENCH_TEST_MARK")
        time.sleep(0.02)


def marked(mark: str) -> list[str]:
    """Command lines of the processes whose environment holds `mark`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
