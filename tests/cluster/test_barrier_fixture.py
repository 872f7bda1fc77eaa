"""The fixture `barrier` in a test of a user, on several nodes of a real Slurm cluster."""

import os
import re
import secrets
import socket
import subprocess
import sys

import pytest

TESTS = """
import os


def test_server(barrier):
    barrier("up")
    if os.environ.get("FAILS_ON") == os.environ["SLURMD_NODENAME"]:
        raise RuntimeError("the server crashed")
    barrier("measured")
"""


def own_address():
    """An address of this host that is not loopback."""
    found = subprocess.check_output(["hostname", "-I"], text=True).split()
    return next(address for address in found if not address.startswith(("127.", "fe80", "169.254.")))


def run(folder, *args, **environ):
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    common = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "MASTER_ADDR": own_address(),
        "PYTEST_BENCH_RENDEZVOUS_SECRET": secrets.token_hex(32),
    }
    return subprocess.run(
        [*args, sys.executable, "-m", "pytest", "test_it.py", "-q"],
        cwd=folder,
        env={**common, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


STEP = ("srun", "--quiet", "--nodes=3", "--ntasks-per-node=1", "--label", "--kill-on-bad-exit=0", "--wait=0")


def test_a_test_waits_for_the_other_nodes(slurm, tmp_path):
    done = run(tmp_path, *STEP)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^\d: 1 passed", done.stdout, re.MULTILINE)) == 3, done.stdout


def test_a_failure_on_one_node_ends_the_test_on_all_and_names_it(slurm, tmp_path):
    done = run(tmp_path, *STEP, FAILS_ON="n1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert len(re.findall(r"^\d: 1 failed", done.stdout, re.MULTILINE)) == 3, done.stdout
    told = f"stopped because of rank 1 ({socket.gethostname()}), which failed while running test_it.py::test_server"
    assert done.stdout.count(f"BarrierAborted: {told}: test_it.py::test_server failed") >= 2, done.stdout


def test_without_a_place_among_the_nodes_the_test_is_an_error(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "NODE_RANK or SLURM_NODEID: not set; expected a whole number" in done.stdout


def test_one_node_waits_for_nobody(tmp_path):
    done = run(tmp_path, NODE_RANK="0", NNODES="1", SLURMD_NODENAME="n0", PYTEST_BENCH_RENDEZVOUS_SECRET="")
    assert done.returncode == 0, done.stdout


def test_on_xdist_workers_it_is_refused(tmp_path):
    done = run(tmp_path, "env", "PYTEST_ADDOPTS=-n1", NODE_RANK="0", NNODES="1")
    assert done.returncode == 1, done.stdout
    assert "the fixture `barrier` cannot be used on xdist workers" in done.stdout


@pytest.mark.parametrize("name", ["MASTER_ADDR", "PYTEST_BENCH_RENDEZVOUS_SECRET"])
def test_what_the_nodes_need_to_meet_is_named(tmp_path, name):
    done = run(tmp_path, NODE_RANK="0", NNODES="2", SLURM_JOB_ID="1", **{name: ""})
    assert done.returncode == 1
    assert f"{name}: not set" in done.stdout
