"""`pytest suites/ --slurm` inside an allocation of a real Slurm cluster."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_folder import RUN, SlurmFolder, wait_until

from pytest_bench.verdict.events import Lease, Report

POINTS = {f"{suite}/perf/{name}" for suite in "abc" for name in ("one", "two")}


@pytest.fixture(scope="module")
def green(slurm, shared_folder):
    return shared_folder.run("--slurm", "--complete")


def test_every_point_runs_and_passes(green):
    assert green.status == 0, green.output
    assert (green.verdict["status"], green.verdict["coverage"]["complete"]) == ("pass", True)
    assert green.outcomes == dict.fromkeys(POINTS, "pass")


def test_every_node_runs_one_worker_that_is_named_after_it(green):
    assert set(green.events) == {"main", "n0", "n1", "n2"}
    for node in ("n0", "n1", "n2"):
        assert any(isinstance(event, Report) for event in green.events[node]), node


def test_all_points_of_a_deployment_run_on_one_node(green):
    nodes = {}
    for event in (event for log in green.events.values() for event in log if isinstance(event, Lease)):
        nodes.setdefault(event.point.partition("/")[0], set()).add(event.worker)
    assert all(len(found) == 1 for found in nodes.values()), nodes


def test_what_the_nodes_are_is_kept_and_listed_by_the_verdict(green):
    kept = json.loads((green.results / "nodes.json").read_text())
    assert list(kept["nodes"]) == ["n0", "n1", "n2"]
    for facts in kept["nodes"].values():
        assert "pytest-inference-bench" in facts["versions"]
        assert str(green.results) in facts["free_bytes"]
    assert "nodes.json" in green.verdict["files"]


def test_the_report_shows_what_the_nodes_are(green, tmp_path):
    page = tmp_path / "page.html"
    command = [sys.executable, *RUN[:2], "report", str(green.results), "-o", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nodes.n1.versions.pytest-inference-bench" in page.read_text()


def test_temporary_folders_lie_beside_the_results_and_are_removed(green):
    assert [path.name for path in green.results.parent.iterdir()] == ["session"]


def test_selection_by_k_is_partial_and_complete_makes_it_red(slurm, folder):
    ran = folder.run("--slurm", "--complete", "-k", "one", nodes="n0,n1")
    assert ran.status == 1, ran.output
    assert ran.outcomes == {point: "pass" if "one" in point else "missing" for point in POINTS}


def test_x_stops_the_deployment_of_the_first_failure(slurm, folder):
    suite = folder.root / "suites/a.yaml"
    suite.write_text(suite.read_text().replace("<= 60s", "<= 1us"))
    ran = folder.run("--slurm", "-x", nodes="n0,n1")
    assert ran.status == 1, ran.output
    assert (ran.outcomes["a/perf/one"], ran.outcomes["a/perf/two"]) == ("fail", "missing")


@pytest.fixture(scope="module", params=[False, True], ids=["pytest", "pytest-bench run"])
def lost(request, slurm, tmp_path_factory):
    """A session whose node that runs suite b is lost while b/perf/one runs, when most suites are not assigned yet."""
    folder = SlurmFolder(tmp_path_factory.mktemp("lost"), ("a", "b", "c", "d", "e", "f", "g"))
    waits = folder.root / "waits"
    waits.mkdir()
    folder.environ["WAIT_FOR"] = str(waits)
    folder.judged = request.param
    running = folder.start("--slurm")
    wait_until((waits / "begun").exists, running)
    node, step = (waits / "begun").read_text().split()
    subprocess.run(["scancel", "--signal=KILL", step], check=True)
    return node, folder.end(running)


def test_a_lost_node_makes_the_session_red_and_is_named(lost):
    node, ran = lost
    assert ran.status == 1, ran.output
    assert ran.verdict["status"] == "error"
    assert f"the step on Slurm node {node} ended" in ran.faults


def test_the_points_of_a_lost_node_are_missing_by_name(lost):
    node, ran = lost
    assert ran.outcomes["b/perf/one"] == "error"
    assert f"worker-crashed: {node} died" in ran.reasons("b/perf/one")
    assert ran.outcomes["b/perf/two"] == "missing"
    assert f"withheld: not run: Slurm node {node}" in ran.reasons("b/perf/two")


def test_the_other_nodes_run_all_that_was_not_assigned_to_the_lost_one(lost):
    node, ran = lost
    for point, outcome in ran.outcomes.items():
        assert outcome == "pass" or f"node {node}" in ran.reasons(point) or point == "b/perf/one", point
    passed = {point.partition("/")[0] for point, outcome in ran.outcomes.items() if outcome == "pass"}
    assert {"a", "c", "f", "g"} <= passed, ran.output


def processes_of(folder):
    """Processes with the environment of the folder's session, on any node."""
    mark = f"PYTEST_BENCH_LEASES={folder.root}/leases".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if mark in (path / "environ").read_bytes():
                found[int(path.name)] = (path / "cmdline").read_bytes().split(b"\0")
    return found


def test_a_killed_controller_leaves_nothing_running_and_red_files(slurm, folder):
    waits = folder.root / "waits"
    waits.mkdir()
    folder.environ["WAIT_FOR"] = str(waits)
    running = folder.start("--slurm")
    wait_until((waits / "begun").exists, running)
    (pytest_itself,) = (
        pid for pid, words in processes_of(folder).items() if words[1:4] == [b"-m", b"pytest", b"suites"]
    )
    os.kill(pytest_itself, signal.SIGKILL)
    ran = folder.end(running)
    limit = time.monotonic() + 60
    while left := processes_of(folder):
        assert time.monotonic() < limit, left
        time.sleep(0.05)
    assert (ran.verdict["status"], set(ran.outcomes.values())) == ("incomplete", {"missing"})


def test_an_interpreter_that_a_node_lacks_is_named_with_both_hosts(folder, not_on_n3):
    link = not_on_n3 / "venv"
    link.symlink_to(sys.prefix)
    folder.python = f"{link}/bin/python"
    ran = folder.run("--slurm", nodes="n0,n3")
    assert ran.status == 4, ran.output
    assert f"n3: {link}/bin/python, which runs on {os.uname().nodename}, does not run on n3" in ran.output
    assert "No such file" in ran.output
    assert (ran.verdict["status"], ran.verdict["refused"]) == ("error", True)
    assert "n0:" not in ran.output


def test_folders_that_a_node_does_not_share_are_named(folder, not_on_n3):
    there = not_on_n3 / "bench"
    shutil.copytree(folder.root, there)
    folder.root = there
    ran = folder.run("--slurm", nodes="n0,n3")
    assert ran.status == 4, ran.output
    assert f"the working folder {there} does not exist there" in ran.output
    assert f"the results folder {ran.results} is not that of" in ran.output
