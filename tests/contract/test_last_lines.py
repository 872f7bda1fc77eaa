"""A session ends with its results folder and with the one command that shows more, which can be run as it is."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench_folder import RUN
from eval_folder import POINTS, make_eval

MAIN = ("-c", "from pytest_bench.cli import main; raise SystemExit(main())")
SCORER = """
from pytest_bench.scoring import ExactMatch, Regex, Scoring


def pytest_bench_scorers():
    number = Regex(pattern="#### (.*)")
    return [Scoring(name="own", version=1, metric="own", filter="number", extractor=number, comparison=ExactMatch())]
"""


def more(output):
    """The command in the last line of a session's summary."""
    (command,) = re.findall(r"^more: (pytest-bench .*)$", output, re.MULTILINE)
    return command


def follow(folder, command):
    """Run the command where the session was run: exit status and output."""
    done = subprocess.run(
        [sys.executable, *MAIN, *shlex.split(command)[1:]],
        cwd=folder.root,
        env=folder.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_after_a_good_session_it_makes_the_page(folder, workers):
    ran = folder.run(workers)
    assert more(ran.output) == f"pytest-bench report {ran.results.name}"
    assert ran.output.index("verdict: pass") < ran.output.index("evidence: ") < ran.output.index("more: ")
    status, said = follow(folder, more(ran.output))
    assert status == 0, said
    assert "tiny/perf/one" in (folder.root / "report.html").read_text()


@pytest.mark.parametrize("judged", [False, True])
def test_after_a_violated_bound_it_makes_the_page_of_the_red_session(folder, judged):
    folder.edit("bench/tiny.yaml", "<= 60s", "<= 1us")
    ran = folder.run(judged=judged)
    status, said = follow(folder, more(ran.output))
    assert status == 0, said
    assert "request_latency.p99" in (folder.root / "report.html").read_text()


def test_after_a_red_eval_it_shows_the_wrong_answers(folder):
    make_eval(
        folder, answers={1: "#### 7"}, fields='gates: [{metric: "exact_match,strict-match", threshold: 1}]\n'
    )
    ran = folder.run("--endpoint=simulator", "-k", "c0001")
    assert more(ran.output) == f"pytest-bench samples {ran.results.name} --wrong --point {POINTS[0]}"
    status, said = follow(folder, more(ran.output))
    assert (status, said.count("#### 7")) == (0, 1), said


def test_it_names_the_conftest_that_registers_scorers(folder):
    folder.write("bench/conftest.py", SCORER)
    make_eval(folder, fields="scorers: [{name: own}]\n")
    ran = folder.run("--endpoint=simulator", "-k", "c0001")
    assert more(ran.output) == f"pytest-bench report {ran.results.name} -p bench/conftest.py"
    status, said = follow(folder, more(ran.output))
    assert status == 0, said
    assert (folder.root / "report.html").exists()


def begin(folder, *words):
    """Start a session that would last for minutes, and wait until its first point is measured."""
    folder.edit("bench/tiny.yaml", "requests: 2}", "duration_s: 300}")
    folder.edit("bench/tiny.yaml", "ready_timeout_s: 5", "ready_timeout_s: 60")
    with (folder.root / "output").open("w") as output:
        session = subprocess.Popen(
            [sys.executable, *words, "bench", "--results=cut"],
            cwd=folder.root,
            env=folder.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = folder.root / "cut/points/tiny/perf/one/phases/measured/requests.0.jsonl"
    limit = time.monotonic() + 120
    while not (running.exists() and running.stat().st_size):
        assert session.poll() is None, (folder.root / "output").read_text()
        if time.monotonic() > limit:
            session.kill()
        time.sleep(0.02)
    return session


def end(folder, session, number, pid=None):
    """Send a signal; what the session printed."""
    os.kill(pid or session.pid, number)
    session.wait(60)
    return (folder.root / "output").read_text()


def test_an_interrupted_session_says_what_ran_and_how_to_look_at_it(folder):
    session = begin(folder, "-m", "pytest")
    output = end(folder, session, signal.SIGINT)
    assert "tiny/perf/one: error" in output
    assert "tiny/perf/two: missing" in output
    assert "0 of 2 selected points finished" in output
    assert more(output) == "pytest-bench verify cut"
    for command in ("show", "verify"):
        status, said = follow(folder, f"pytest-bench {command} cut")
        assert status == 1
        assert "interrupted" in said
    status, said = follow(folder, "pytest-bench report cut")
    assert status == 1
    assert "does not verify: cut: points/tiny/perf/one/evidence.json: is missing" in said


def child_of(pid):
    """The only child of a process."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def test_run_says_what_became_of_a_pytest_that_was_killed(folder):
    session = begin(folder, *RUN)
    output = end(folder, session, signal.SIGKILL, child_of(session.pid))
    assert session.returncode == 1
    assert "\nverdict: error: pytest was killed by signal 9" in output
    assert "evidence: cut\n" in output
    assert more(output) == "pytest-bench verify cut"


def test_a_killed_session_is_shown_as_unfinished_with_what_to_do_next(folder):
    session = begin(folder, "-m", "pytest")
    end(folder, session, signal.SIGKILL)
    status, said = follow(folder, "pytest-bench show cut")
    assert status == 1
    assert "verdict: incomplete" in said
    assert "the session did not finish: its process was killed" in said
    assert "next: run it again with a new folder: pytest bench" in said
    assert " pass" not in said
    status, said = follow(folder, "pytest-bench report cut")
    assert status == 1
    assert "does not verify: cut: the session did not finish" in said
    assert not (folder.root / "report.html").exists()
