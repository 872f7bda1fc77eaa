"""The process group of an external harness: what it inherits, how it ends, and that it never outlives its point."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_bench.errors import UsageError
from pytest_bench.evals import harness
from pytest_bench.evals.harness import STDERR, STDOUT, inherited, run_harness


def script(*lines):
    return [sys.executable, "-c", "\n".join(lines)]


def run(tmp_path, *lines, environment=None, time_limit_s=60.0):
    return run_harness(
        script(*lines),
        environment or {},
        working_folder=tmp_path,
        logs=tmp_path / "logs",
        time_limit_s=time_limit_s,
    )


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.01)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_its_output_and_status_are_kept(tmp_path):
    end = run(tmp_path, "import sys", "print('out')", "print('err', file=sys.stderr)", "sys.exit(3)")
    assert (end.status, end.overdue) == (3, False)
    assert end.started_s <= end.ended_s
    assert (tmp_path / "logs" / STDOUT).read_text() == "out\n"
    assert (tmp_path / "logs" / STDERR).read_text() == "err\n"


def test_its_environment_has_only_the_declared_and_the_inherited_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("EVAL_CONC", "64")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = {**inherited(os.environ), "DECLARED": "yes"}
    run(tmp_path, "import json, os", "print(json.dumps(dict(os.environ)))", environment=environment)
    found = (tmp_path / "logs" / STDOUT).read_text()
    assert '"DECLARED": "yes"' in found
    assert '"PATH"' in found
    assert '"LANG": "C.UTF-8"' in found
    assert "EVAL_CONC" not in found


def test_its_input_is_empty_and_it_runs_in_the_given_folder(tmp_path):
    run(tmp_path, "import os, sys", "print(repr(sys.stdin.read()), os.getcwd())")
    assert (tmp_path / "logs" / STDOUT).read_text() == f"'' {tmp_path}\n"


def test_a_signal_is_reported_as_a_shell_does(tmp_path):
    assert run(tmp_path, "import os", "os.kill(os.getpid(), 9)").status == 128 + 9


def test_a_program_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match="'no-such-harness' cannot be started"):
        run_harness(
            ["no-such-harness"], {}, working_folder=tmp_path, logs=tmp_path / "logs", time_limit_s=1.0
        )


DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
DEAF_CHILD = (
    "import os, subprocess, sys, time",
    f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}], stdout=subprocess.PIPE)",
    "child.stdout.readline()",
    "print(os.getpid(), child.pid, flush=True)",
)


def pids(path):
    return [int(word) for word in path.read_text().split()]


def test_at_its_time_limit_its_whole_group_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "GRACE_S", 0.1)
    end = run(tmp_path, *DEAF_CHILD, "time.sleep(600)", time_limit_s=3.0)
    assert (end.status, end.overdue) == (124, True)
    found = pids(tmp_path / "logs" / STDOUT)
    until(lambda: not any(map(is_alive, found)))


def test_what_it_leaves_behind_is_ended_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "GRACE_S", 0.1)
    end = run(tmp_path, *DEAF_CHILD)
    assert (end.status, end.overdue) == (0, False)
    found = pids(tmp_path / "logs" / STDOUT)
    assert len(found) == 2
    until(lambda: not any(map(is_alive, found)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_its_whole_group_ends_with_the_process_that_runs_it(tmp_path, number):
    inner = script(*DEAF_CHILD, "time.sleep(600)")
    outer = [
        "import signal",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "from pathlib import Path",
        "from pytest_bench.evals import harness",
        "harness.GRACE_S = 0.1",
        f"harness.run_harness({inner!r}, {{}}, working_folder=Path('.'), logs=Path('logs'), time_limit_s=600.0)",
    ]
    process = subprocess.Popen(script(*outer), cwd=tmp_path, stderr=subprocess.DEVNULL)
    printed = tmp_path / "logs" / STDOUT
    until(lambda: printed.exists() and printed.read_text().endswith("\n"))
    process.send_signal(number)
    process.wait(60)
    until(lambda: not any(map(is_alive, pids(printed))))
