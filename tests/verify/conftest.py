from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from lmeval_folder import EvalFolder
from small_bench import bench_folder, run_pytest

from pytest_bench.cli import main


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    root = bench_folder(tmp_path_factory.mktemp("bench"))
    root.chmod(0o700)
    return root


@pytest.fixture(scope="session")
def expectation(bench):
    """What the suites ask for, by another road than the session."""
    command = [sys.executable, "-m", "pytest_bench.cli", "plan", "bench", "--endpoint", "simulator"]
    code = "import sys; from pytest_bench.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *command[3:]], cwd=bench, capture_output=True, text=True, check=True
    )
    path = bench / "expectation.json"
    path.write_text(done.stdout)
    return path


@pytest.fixture(scope="session")
def finished(bench):
    """A session that passed, on the simulator. Never altered."""
    return run_pytest(bench, results="all")


@pytest.fixture(scope="session")
def partial(bench):
    """The same suites with a selection that left points out. Never altered."""
    return run_pytest(bench, "-k", "c0001", results="some")


@pytest.fixture
def results(finished, tmp_path):
    """A copy of a session that passed, to be spoiled."""
    return shutil.copytree(finished, tmp_path / "results")


@pytest.fixture
def verify(capsys):
    """`pytest-bench verify` in this process: its exit status, and all it said."""

    def call(*words):
        try:
            status = main(["verify", *map(str, words)])
        except SystemExit as exit_:  # of a word that argparse refuses
            status = exit_.code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out + said.err

    return call


@pytest.fixture
def check(tmp_path, verify):
    """Write a folder of lm-eval and verify it: the exit status, and all that was said."""

    def call(folder, *words, asked="1 4", thresholds=True):
        path = folder.write()
        given = [path]
        if asked is not None:
            given += ["--expected-concs", asked]
        if thresholds:
            file = tmp_path / "thresholds.json"
            file.write_text(json.dumps(folder.thresholds))
            given += ["--thresholds", file]
        return verify(*given, *words)

    return call


@pytest.fixture
def batch(tmp_path):
    """A folder of two concurrencies, in order."""
    return EvalFolder(tmp_path / "eval", 1, 4)


@pytest.fixture
def single(tmp_path):
    """A folder of one concurrency, in order."""
    return EvalFolder(tmp_path / "eval", 4)
