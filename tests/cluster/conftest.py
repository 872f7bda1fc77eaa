"""A real Slurm cluster of four nodes: `tests/cluster/with-slurm` starts one."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from slurm_folder import SlurmFolder


@pytest.fixture(scope="session")
def slurm():
    """Slurm answers. CI requires it."""
    program = shutil.which("scontrol")
    done = program and subprocess.run([program, "ping"], capture_output=True, text=True, check=False)
    if done and "is UP" in done.stdout:
        return
    if os.environ.get("CI"):
        pytest.fail("these tests need Slurm: tests/cluster/with-slurm starts it")
    pytest.skip("no Slurm: tests/cluster/with-slurm starts it")


@pytest.fixture
def not_on_n3(slurm):
    """A folder of this test that every node but n3 sees."""
    folder = os.environ.get("PYTEST_BENCH_NOT_ON_N3")
    if folder is None:
        if os.environ.get("CI"):
            pytest.fail("these tests need the cluster that tests/cluster/with-slurm starts")
        pytest.skip("another cluster than that of tests/cluster/with-slurm")
    return Path(tempfile.mkdtemp(dir=folder))


@pytest.fixture
def folder(tmp_path):
    """Three suites of two points each, which pass, on the simulator."""
    return SlurmFolder(tmp_path)


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    """As `folder`, for several tests of one session."""
    return SlurmFolder(tmp_path_factory.mktemp("shared"))
