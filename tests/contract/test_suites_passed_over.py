"""A suite next to the one that runs is read or refused, never ignored."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from bench_folder import POINT, SUITE


def refused(folder, *args: str):
    ran = folder.run("--endpoint=simulator", *args)
    assert ran.status == 4, ran.output
    assert "Traceback" not in ran.output
    assert ran.verdict["refused"]
    assert ran.junit == {"session::integrity": "error"}
    return ran


def other(folder, name: str) -> None:
    """A second suite, of its own name, at `name`."""
    folder.write(name, SUITE.replace("suite: tiny", "suite: other") + POINT % "three")


@pytest.mark.parametrize("name", ["bench/other.yml", "bench/other.YAML"])
def test_a_suite_of_another_suffix_is_planned(folder, name):
    other(folder, name)
    ran = folder.run("--endpoint=simulator", "-k", "one")
    assert ran.status == 0, ran.output
    assert "other/perf/three" in ran.verdict["coverage"]["left_out"]


def test_a_suite_that_begins_with_a_byte_order_mark_is_planned(folder):
    path = folder.root / "bench/tiny.yaml"
    path.write_text("\ufeff" + path.read_text().lstrip(), encoding="utf-8")
    folder.run("--endpoint=simulator", "-k", "one").require(0, "pass", one="pass")


@pytest.mark.parametrize("kind", ["dangling link", "pipe", "folder"])
def test_an_entry_named_like_a_suite_that_is_not_a_file_is_refused_by_name(folder, kind):
    path = folder.root / "bench/other.yaml"
    if kind == "dangling link":
        path.symlink_to("nowhere.yaml")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert "bench/other.yaml" in refused(folder, "--complete").output


@pytest.mark.parametrize("name", ["team", "build", "dist", ".x"])
def test_a_suite_in_a_subfolder_that_pytest_would_not_run_is_refused_by_name(folder, name):
    other(folder, f"bench/{name}/other.yaml")
    if name != "team":
        folder.write(f"bench/{name}/test_perf.py", "")
    assert f"bench/{name}/other.yaml: is a suite that would not run" in refused(folder).output


def test_a_folder_of_testpaths_that_does_not_exist_is_refused_by_name(folder):
    folder.write("pytest.ini", "[pytest]\ntestpaths = bench evals\naddopts = -p no:cacheprovider\n")
    results = folder.root / "results-1"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--endpoint=simulator", f"--results={results}"],
        cwd=folder.root,
        env=folder.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    ran = folder.read(done.returncode, done.stdout + done.stderr, results)
    assert ran.status == 4, ran.output
    assert "testpaths: 'evals' matches nothing below" in ran.output
    assert ran.junit == {"session::integrity": "error"}
