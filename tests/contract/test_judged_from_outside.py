"""`pytest-bench run` judges from outside of pytest's process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from bench_folder import read_junit
from test_session_rows import marked, wait_for

from pytest_bench.cli.main import main

TEST = """
    import os
    import pytest

    @pytest.mark.points("perf")
    def test_perf(run_load, point):
        measured = run_load()
        if point.name == "two":
            %s
        measured.require()
"""


def run(folder, *args, **words):
    return folder.run(*args, judged=True, **words)


def test_a_good_session_passes_and_verifies(folder, workers):
    ran = run(folder, workers, "--junitxml=ci.xml")
    ran.require(0, "pass", one="pass", two="pass")
    assert main(["verify", str(ran.results), "--junit", str(folder.root / "ci.xml")]) == 0


def test_words_after_two_dashes_are_pytests(folder):
    command = folder.command("bench", results=folder.root / "r", judged=True)
    command.insert(command.index("run") + 1, "--")
    done = subprocess.run(
        command, cwd=folder.root, env=folder.environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_output_is_pytests_own(folder):
    def words(ran):
        # Which columns the table has depends on what was measured: TPOT needs two tokens at two times.
        told, tables = re.subn(r"^perf\n.*?\n\n", "", ran.output, flags=re.DOTALL | re.MULTILINE)
        assert tables == 1, ran.output
        return [word for word in re.findall("[A-Za-z_/-]+", told) if word not in {"s", "ms", "us", "in"}]

    assert words(run(folder, "-n0", "-q")) == words(folder.run("-n0", "-q"))


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ("os._exit(0)", "error"),
        ("os.kill(os.getpid(), 9)", "error"),
        ("pytest.exit('done', returncode=0)", "error"),
        ("import sys; sys.exit(0)", "fail"),
        ("assert False", "fail"),
    ],
)
def test_a_test_that_ends_the_process_is_red_and_never_0(folder, ends, outcome):
    folder.write("bench/test_perf.py", TEST % ends)
    ran = run(folder, "-n0")
    assert ran.status == 1, ran.output
    assert ran.outcomes == {"tiny/perf/one": "pass", "tiny/perf/two": outcome}
    assert ran.junit["tiny.perf::tiny/perf/one"] == "pass"
    assert ran.junit["tiny.perf::tiny/perf/two"] in {"error", "failure"}
    if "_exit" in ends or "kill" in ends:
        assert "cut-off" in ran.faults
        assert "without recording the end of the session" in ran.output


CONFTESTS = {
    "syntax error": "def (:\n",
    "os._exit at import": "import os\nos._exit(0)\n",
    "sys.exit at import": "import sys\nsys.exit(0)\n",
    "a hook ends": "import os\ndef pytest_sessionstart(): os._exit(0)\n",
    "a hook at the end": "import os\ndef pytest_unconfigure(): os._exit(0)\n",
    "at exit": "import atexit, os\natexit.register(os._exit, 3)\n",
    "answers for pytest": "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_cmdline_main(): return 0\n",
}


@pytest.mark.parametrize("name", CONFTESTS)
def test_a_conftest_cannot_make_it_green(folder, name):
    folder.write("conftest.py", CONFTESTS[name])
    ran = run(folder, "-n0")
    assert ran.status in {1, 2}, ran.output
    if name == "answers for pytest":  # pytest ended with status 0, without any test
        assert (ran.verdict["status"], set(ran.outcomes.values())) == ("incomplete", {"missing"})
        assert set(ran.junit.values()) == {"error"}
    else:
        assert ran.verdict["status"] == "error"
        assert ran.junit["session::integrity"] == "error"


@pytest.mark.parametrize("args", [["-p", "no:inference_bench"], ["-p", "no:junitxml"], ["-p", "no:xdist"]])
def test_a_part_that_is_switched_off_is_red_unless_it_is_not_needed(folder, args):
    folder.edit("pytest.ini", "required_plugins = pytest-inference-bench", "")
    ran = run(folder, *args)
    if "no:xdist" in args:
        ran.require(0, "pass", one="pass", two="pass")
    else:
        assert ran.status in {1, 2}, ran.output
        assert ran.verdict["status"] == "error"
        assert set(ran.junit.values()) == {"error"}


def test_a_plugin_that_is_not_loaded_at_all_is_red(folder):
    folder.edit("pytest.ini", "required_plugins = pytest-inference-bench", "")
    folder.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    ran = run(folder)
    assert ran.status in {1, 2}, ran.output
    assert set(ran.junit.values()) == {"error"}


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["--no-such-option"], 2),
        (["-n", "many"], 2),
        (["--endpoint=h:1"], 2),
        (["--expect="], 2),
        (["--collect-only"], 2),
        (["-k", "tniy"], 1),
        (["-k", "one", "--complete", "--endpoint=simulator"], 1),
    ],
)
def test_a_call_that_cannot_be_good_is_red_and_no_earlier_file_stays_green(folder, args, status):
    folder.write("ci.xml", '<testsuites><testsuite tests="1"><testcase name="x"/></testsuite></testsuites>')
    ran = run(folder, *args, "--junitxml=ci.xml")
    assert ran.status == status, ran.output
    assert "error" in read_junit(folder.root / "ci.xml").values()
    assert ran.verdict is None or ran.verdict["status"] != "pass"


def test_a_used_folder_is_refused_and_its_verdict_set_aside(folder):
    first = run(folder, "-n0", "-k", "one", results="used")
    first.require(0, "pass", one="pass")
    again = run(folder, results="used")
    assert again.status == 2
    assert (again.verdict["status"], again.verdict["refused"]) == ("error", True)
    assert (again.results / f"verdict.{first.verdict['nonce']}.json").exists()


def test_a_plan_that_changes_between_the_two_processes_is_red(folder):
    folder.write(
        "conftest.py",
        """
        from pathlib import Path

        suite = Path(__file__).parent / "bench/tiny.yaml"
        suite.write_text(suite.read_text().partition("  two:")[0])
        """,
    )
    ran = run(folder, "-n0")
    assert ran.status == 1, ran.output
    assert "damaged" in ran.faults
    assert ran.outcomes["tiny/perf/two"] == "missing"


def test_suites_that_need_a_conftests_api_are_planned_by_pytest(folder):
    folder.write(
        "conftest.py",
        """
        def pytest_bench_apis():
            return {"theirs": "pytest_bench.api.openai_chat:OpenAIChat"}
        """,
    )
    folder.edit("bench/tiny.yaml", "api: openai-chat", "api: theirs")
    run(folder, "-n0", "-k", "one").require(0, "pass", one="pass")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("to", ["group", "parent"])
def test_a_signal_reaches_the_child_and_nothing_stays(folder, number, to, tmp_path):
    folder.edit("bench/tiny.yaml", "endpoint: ${ENDPOINT:-}", "endpoint: simulator")
    folder.edit("bench/tiny.yaml", "requests: 2}", "duration_s: 300}")
    mark = uuid.uuid4().hex
    process = folder.start(
        "-n2", results=tmp_path / "interrupted", judged=True, environ={"BENCH_TEST_MARK": mark}
    )
    running = tmp_path / "interrupted/points/tiny/perf/one/phases/measured/requests.0.jsonl"
    wait_for(lambda: running.exists() and running.stat().st_size > 0, process)
    if to == "group" and number == signal.SIGTERM:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    ran = folder.read(process.returncode, output, tmp_path / "interrupted")
    assert ran.status == 130, output
    assert ran.verdict["interrupted"]
    wait_for(lambda: not marked(mark), None)


def test_the_descendants_of_a_killed_child_are_ended_before_the_verdict(folder, tmp_path):
    folder.edit("bench/tiny.yaml", "endpoint: ${ENDPOINT:-}", "endpoint: simulator")
    folder.edit("bench/tiny.yaml", "requests: 2}", "duration_s: 300}")
    mark = uuid.uuid4().hex
    process = folder.start("-n0", results=tmp_path / "killed", judged=True, environ={"BENCH_TEST_MARK": mark})
    running = tmp_path / "killed/points/tiny/perf/one/phases/measured/requests.0.jsonl"
    wait_for(lambda: running.exists() and running.stat().st_size > 0, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    (child,) = map(int, children.split())
    os.kill(child, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert not marked(mark)
    ran = folder.read(process.returncode, output, tmp_path / "killed")
    assert ran.status == 1
    assert "cut-off" in ran.faults
    assert "was killed by signal 9" in ran.output
    assert main(["verify", str(ran.results)]) == 1


def test_what_pytest_starts_is_not_part_of_the_session(folder):
    """A pytest within a test has a session of its own, or none."""
    folder.write(
        "bench/test_other.py",
        """
        import os
        import subprocess
        import sys

        def test_other(tmp_path):
            assert "PYTEST_BENCH_RUN" not in os.environ
            (tmp_path / "test_it.py").write_text("def test_it(): pass")
            subprocess.run([sys.executable, "-m", "pytest", "-q", str(tmp_path)], check=True, cwd=tmp_path)
        """,
    )
    run(folder, "-n0").require(0, "pass", one="pass", two="pass")
    assert json.loads((folder.root / "results-1/verdict.json").read_text())["status"] == "pass"


def test_a_call_that_pytest_cannot_parse_leaves_the_junit_file_that_it_names_red(folder):
    junit = folder.write("j.xml", '<testsuites><testsuite name="old" tests="1"/></testsuites>')
    command = folder.command("bench", "--junitxml=j.xml", "--no-such-option", results=None, judged=True)
    done = subprocess.run(
        command, cwd=folder.root, env=folder.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert read_junit(folder.root / "j.xml")["session::integrity"] == "error", junit


@pytest.mark.parametrize("spoils", ["pytest.skip('not today')", "return"], ids=["skipped", "not required"])
def test_a_red_point_that_pytest_does_not_fail_is_as_red_as_without_run(folder, spoils):
    """Pytest's own status is 0 then. The exit status of its process is that of the verdict."""
    folder.points = ("two",)
    folder.__post_init__()
    folder.write("bench/test_perf.py", TEST % spoils)
    folder.edit("bench/tiny.yaml", 'request_latency.p99: "<= 60s"', 'request_throughput: ">= 1000000"')
    plain, ran = folder.run("-n0"), run(folder, "-n0")
    assert (ran.verdict["status"], ran.faults) == (plain.verdict["status"], plain.faults), ran.output
    assert ran.outcomes == plain.outcomes
    assert (ran.status, plain.status, plain.verdict["pytest_exit_status"]) == (1, 1, 0)


def test_a_session_whose_parent_was_killed_is_incomplete(folder, tmp_path):
    """Pytest goes on to its end, but nobody outside of it has judged."""
    folder.points = ("one",)
    folder.__post_init__()
    process = subprocess.Popen(
        folder.command("-n0", results=tmp_path / "orphaned", judged=True),
        cwd=folder.root,
        env=folder.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    own = tmp_path / "orphaned/events/main.jsonl"
    wait_for(lambda: own.exists() and b'"planned"' in own.read_bytes(), process)
    process.kill()
    process.wait()
    wait_for(lambda: b'"ended"' in own.read_bytes() or not group_alive(process.pid), None)
    ran = folder.read(1, "", tmp_path / "orphaned")
    assert ran.verdict["status"] == "incomplete"
    assert ran.faults == ["not-ended"]
    assert ran.junit["session::integrity"] == "error"
    assert main(["verify", str(ran.results)]) == 1


def group_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
