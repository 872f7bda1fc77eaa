"""What ends a gang: each ends it on every node within seconds, and the point says why, the root cause first."""

import json
import os
import re
import signal
import subprocess

import pytest
from gang_folder import ENDLESS, until

pytestmark = pytest.mark.usefixtures("nodes")


def serving(folder):
    """A started session whose containers serve, and whose load runs."""
    folder.load = ENDLESS
    running = folder.start()
    log = folder.results / "deployments/disaggregated/rank-0/proxy/container.log"
    until(lambda: log.exists() and "prefilled" in log.read_text(), running)
    return running


def ended(folder, running, left):
    """The session, which ends by itself, when nothing of it is left on any node."""
    ran = folder.end(running)
    until(lambda: not left() and not folder.processes())
    return ran


def test_a_container_that_ends_on_one_node_ends_all_and_is_named_with_its_log(folder, left):
    folder.launcher = "echo no weights; exit 7"
    ran = ended(folder, folder.start(), left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    first = ran.reasons.index("rank 1 (n1) failed while starting containers: the container")
    assert first < ran.reasons.index("(role decode) ended with exit status 7")
    assert (
        first < ran.reasons.index("no weights") < ran.reasons.index("rank 0 (n0): stopped because of rank 1")
    )
    assert [ran.status_of(rank)["state"] for rank in (0, 1)] == ["stopped", "failed"]


def test_a_container_that_dies_under_load_ends_all(folder, nodes, left):
    running = serving(folder)
    name = json.loads(
        (folder.results / "deployments/disaggregated/rank-1/decode/container.json").read_text()
    )["name"]
    nodes("n1", "docker", "kill", name)
    ran = ended(folder, running, left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert "rank 1 (n1) failed while serving: the container" in ran.reasons
    assert "(role decode) ended with exit status 137" in ran.reasons
    assert "rank 0 (n0): stopped because of rank 1" in ran.reasons


@pytest.mark.parametrize(("node", "rank", "other"), [("n0", 0, 1), ("n1", 1, 0)])
def test_a_killed_agent_ends_the_others_and_is_the_root_cause(folder, left, node, rank, other):
    running = serving(folder)
    os.kill(folder.agents()[node], signal.SIGKILL)
    ran = ended(folder, running, left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert f"has failed: rank {rank} ({node}) failed while serving: its process ended" in ran.reasons
    assert f"rank {other} (n{other}): stopped because of rank {rank}" in ran.reasons
    assert ran.status_of(other)["state"] == "stopped"


def test_a_node_that_is_cut_off_ends_all_and_is_named(folder, nodes, left):
    running = serving(folder)
    nodes("n1", "ip", "link", "set", "eth0", "down")
    try:
        until(lambda: not left())
    finally:
        nodes("n1", "ip", "link", "set", "eth0", "up")
    ran = ended(folder, running, left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert re.search(r"has failed: rank ([01]) \(n\1\) failed while serving: ", ran.reasons), ran.reasons
    assert {ran.status_of(rank)["state"] for rank in (0, 1)} == {"stopped"}


def test_a_killed_session_leaves_no_container_and_no_process_on_any_node(folder, left):
    running = serving(folder)
    sessions = [
        pid
        for pid, words in folder.processes().items()
        if b"--slurm" in words and not words[0].endswith(b"salloc")
    ]
    assert len(sessions) == 2, "`pytest-bench run`, and pytest"
    for pid in sessions:
        os.kill(pid, signal.SIGKILL)
    running.communicate(timeout=120)
    until(lambda: not left() and not folder.processes())
    for rank in (0, 1):
        status = json.loads(
            (folder.results / f"deployments/disaggregated/rank-{rank}/status.json").read_text()
        )
        assert status["state"] in {"ended", "stopped"}  # by the end of its input, or of the job


def test_scancel_leaves_no_container(folder, left):
    running = serving(folder)
    job = subprocess.run(
        ["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True
    ).stdout.split()
    subprocess.run(["scancel", *job], check=True)
    running.communicate(timeout=120)
    until(lambda: not left() and not folder.processes())


def test_a_killed_srun_ends_the_agents(folder, left):
    running = serving(folder)
    for pid, words in folder.processes().items():
        if words[0].endswith(b"srun") and b"pytest_bench.gang.agent" in words:
            os.kill(pid, signal.SIGKILL)
    ran = ended(folder, running, left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
