"""A real Slurm cluster whose nodes have Docker engines of their own: `tests/gang/with-nodes` starts one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gang_folder import GangFolder

IMAGE = "pytest-bench-simulator"


@pytest.fixture(scope="session")
def nodes():
    """A function that runs a command on a node, as on a machine of its own, and returns its output. CI requires it."""
    folder = os.environ.get("PYTEST_BENCH_NODES")
    if folder is None:
        if os.environ.get("CI"):
            pytest.fail("these tests need nodes with engines: tests/gang/with-nodes starts them")
        pytest.skip("no nodes with engines: tests/gang/with-nodes starts them")

    def on(node, *command, check=True):
        pid = Path(folder, f"{node}.pid").read_text().strip()
        entered = ["nsenter", "--target", pid, "--mount", "--net", "--uts", "--", *command]
        return subprocess.run(entered, capture_output=True, text=True, check=check).stdout

    return on


@pytest.fixture(scope="session")
def image(nodes):
    """The image with the simulator, on the engine of n0 only, by name."""
    program = Path(__file__).parent.parent / "containers/simulator_image.py"
    nodes("n0", sys.executable, str(program))
    return IMAGE


@pytest.fixture(scope="session")
def image_everywhere(nodes, image, tmp_path_factory):
    """The same image on the engines of n0 and n1."""
    file = str(tmp_path_factory.mktemp("image") / "image.tar")
    nodes("n0", "docker", "save", "--output", file, image)
    nodes("n1", "docker", "load", "--input", file)
    return image


@pytest.fixture
def left(nodes):
    """A function that returns the containers of sessions on all nodes, running or not."""

    def found():
        return [
            f"{node} {name}"
            for node in ("n0", "n1")
            for name in nodes(
                node,
                "docker",
                "ps",
                "--all",
                "--filter",
                "label=pytest-inference-bench.owner",
                "--format",
                "{{.Names}}",
            ).split()
        ]

    return found


@pytest.fixture
def folder(tmp_path, image_everywhere):
    """A suite whose image every node has already."""
    return GangFolder(tmp_path, image_everywhere)
