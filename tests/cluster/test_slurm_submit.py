"""`pytest-bench slurm submit`."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from touched import touched

from pytest_bench.cli.slurm import batch_script
from pytest_bench.errors import UsageError

MAIN = ("-c", "from pytest_bench.cli import main; raise SystemExit(main())", "slurm", "submit")


def submit(folder, *args, **environ):
    return subprocess.run(
        [sys.executable, *MAIN, *args],
        cwd=folder.root,
        env={**os.environ, "PYTEST_BENCH_LEASES": str(folder.root / "leases"), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_submitted_job_runs_the_suites_on_its_nodes_and_leaves_a_verdict(slurm, folder):
    done = submit(
        folder, "--nodes", "2", "--", "suites", "--endpoint=simulator", "-k", "a or b", "--results=r"
    )
    assert done.returncode == 0, done.stderr
    job = done.stdout.split()[2].rstrip(":")
    verdict = folder.root / "r/verdict.json"
    limit = time.monotonic() + 240
    while subprocess.check_output(["squeue", "--noheader", "--jobs", job], text=True).strip():
        assert time.monotonic() < limit, "the job did not end"
        time.sleep(0.2)
    output = (folder.root / f"results/slurm-{job}.out").read_text()
    found = json.loads(verdict.read_text())
    assert (found["status"], found["counts"]) == ("pass", {"pass": 4}), output
    assert {path.stem for path in (folder.root / "r/events").iterdir()} >= {"run", "main", "n0", "n1"}
    (script,) = (folder.root / "results").glob("slurm-*.sh")
    assert str(script) in done.stdout


def test_a_dry_run_prints_everything_and_starts_and_writes_nothing(folder):
    unwanted = touched(
        folder,
        *MAIN,
        "--nodes=3",
        "--sbatch=--time=2:00",
        "--dry-run",
        "--",
        "suites",
        "--endpoint=simulator",
    )
    assert [line for line in unwanted if not line.startswith(f"open ('{tempfile.gettempdir()}")] == []
    done = submit(
        folder, "--nodes=3", "--sbatch=--time=2:00", "--dry-run", "--", "suites", "--endpoint=simulator"
    )
    lines = done.stdout.splitlines()
    assert {"#SBATCH --nodes=3", "#SBATCH --time=2:00", "#SBATCH --no-kill"} <= set(lines)
    assert [line for line in lines if line.endswith("pytest-bench run suites --endpoint=simulator --slurm")]
    assert lines[-1].startswith("sbatch --parsable ")
    assert not (folder.root / "results").exists()


def test_a_secret_in_an_argument_is_refused_and_not_repeated(folder):
    done = submit(
        folder,
        *("--nodes=1", "--dry-run", "--", "suites", "--endpoint=http://h:1", "--api-key-env=KEY"),
        *("-o", "cache_dir=s3cr3t-value"),
        KEY="s3cr3t-value",
    )
    assert done.returncode == 2
    assert "argument 5 after `--` contains a secret" in done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--nodes=1", "suites"), "suites: expected the arguments of pytest after `--`"),
        (("--nodes=0", "--", "suites"), "--nodes 0: expected 1 or more"),
        (("--nodes=1", "--", "suites/data"), "suites/data contains no suite"),
        (("--nodes=1", "--", "suites", "--collect-only"), "runs nothing"),
    ],
)
def test_a_call_that_the_job_would_refuse_is_refused_before_the_queue(folder, args, told):
    done = submit(folder, *args)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_an_sbatch_that_refuses_the_job_is_an_error_with_its_words(slurm, folder):
    done = submit(folder, "--nodes=9", "--sbatch=--partition=none", "--", "suites", "--endpoint=simulator")
    assert done.returncode == 2
    assert "invalid partition" in done.stderr
    assert "sbatch ended with status 1" in done.stderr


@pytest.mark.parametrize("option", ["partition=gpu", '--comment="x', "--comment=a\nrm -r x"])
def test_an_option_that_would_not_reach_sbatch_as_given_is_refused(tmp_path, option):
    with pytest.raises(UsageError, match="expected an option of sbatch"):
        batch_script(1, tmp_path, [option], ["suites"])


@given(st.lists(st.text(min_size=1)))
def test_arguments_are_quoted_for_the_shell(words):
    command = batch_script(1, Path("/bench"), [], words).partition("\nexec ")[2]
    assert shlex.split(command)[1:] == ["run", *words, "--slurm"]
