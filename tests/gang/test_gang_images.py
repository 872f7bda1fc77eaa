"""The images of a gang: prepared once and loaded elsewhere, the same on every node, before any container starts."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from gang_folder import GangFolder, until

BUILT = "gang-built"
DOCKERFILE = "FROM pytest-bench-simulator\nENV MADE={made}\n"
SLOW = "FROM pytest-bench-simulator\nRUN echo building && sleep 600\n"


@pytest.fixture
def built(tmp_path, image_everywhere, nodes):
    """A folder whose image no node has, with a cache."""
    for node in ("n0", "n1"):
        nodes(node, "docker", "rmi", "--force", BUILT, check=False)
    folder = GangFolder(tmp_path, BUILT, build="{context: context}", cache="images")
    (tmp_path / "suites/context").mkdir(parents=True)
    (tmp_path / "suites/context/Dockerfile").write_text(DOCKERFILE.format(made=tmp_path.name))
    return folder


def ended(folder, running, left):
    ran = folder.end(running)
    until(lambda: not left() and not folder.processes())
    return ran


def builds():
    """Whether the slow build has begun, on any node."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if path.read_bytes() == b"sleep\x00600\x00":
                return True
    return False


def files(folder):
    return sorted(path.suffix for path in (folder.root / "suites/images").iterdir())


def test_an_image_is_built_once_saved_and_loaded_elsewhere(built, left):
    ran = ended(built, built.start(), left)
    assert ran.status == 0, ran.output
    found = {role: ran.container(rank, role)["image"] for rank, role in ((0, "prefill"), (1, "decode"))}
    assert (found["prefill"]["provenance"], found["decode"]["provenance"]) == ("built", "loaded")
    assert found["prefill"]["identity"] == found["decode"]["identity"]
    assert files(built) == [".json", ".tar"]


def test_a_node_with_another_image_under_the_same_name_is_an_error(tmp_path, image, nodes, left):
    """Without a cache, every node has its own image, and the nodes compare."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM pytest-bench-simulator\nENV OTHER=1\n")
    file = str(tmp_path / "image.tar")
    nodes("n0", "docker", "tag", image, "gang-differs")
    nodes("n0", "docker", "build", "--quiet", "--tag", "gang-other", str(context))
    nodes("n0", "docker", "save", "--output", file, "gang-other")
    nodes("n1", "docker", "load", "--input", file)
    nodes("n1", "docker", "tag", "gang-other", "gang-differs")
    folder = GangFolder(tmp_path, "gang-differs")
    ran = ended(folder, folder.start(), left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert "image:gang-differs:loaded: this rank has" in ran.reasons
    assert not list(ran.deployment.rglob("container.json")), "no container was started"


def test_a_damaged_file_is_an_error_that_names_it_and_the_next_session_saves_it_again(built, nodes, left):
    assert ended(built, built.start(), left).status == 0
    (file,) = (built.root / "suites/images").glob("*.tar")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    entry = json.loads(file.with_suffix(".json").read_text())
    nodes("n1", "docker", "rmi", "--force", entry["image_id"])  # the loaded image has no name
    assert entry["image_id"] not in nodes("n1", "docker", "images", "--quiet", "--no-trunc")
    subprocess.run(["rm", "-rf", built.results], check=True)
    ran = ended(built, built.start(), left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert f"rank 1 (n1) failed while loading the image {BUILT}: {file}: has another sha256" in ran.reasons
    assert "rank 0 (n0): stopped because of rank 1" in ran.reasons
    assert not list(ran.deployment.rglob("container.json")), (
        "rank 0, which has the image, started a container"
    )
    assert files(built) == [".corrupt", ".lost"]
    subprocess.run(["rm", "-rf", built.results], check=True)
    assert ended(built, built.start(), left).status == 0
    assert files(built) == [".corrupt", ".json", ".tar"]


def test_a_full_disk_during_the_save_ends_all_nodes_and_leaves_no_part_of_the_file(built, nodes, left):
    images = built.root / "suites/images"
    images.mkdir()
    for node in ("n0", "n1"):
        nodes(node, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(images))
    try:
        ran = ended(built, built.start(), left)
        assert nodes("n0", "ls", "-A", str(images)) == ""
    finally:
        for node in ("n0", "n1"):
            nodes(node, "umount", "--lazy", str(images))
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert (
        f"rank 0 (n0) failed while preparing the image {BUILT}: the image {BUILT} could not be saved"
        in ran.reasons
    )
    assert "No space left on device" in ran.reasons
    assert "rank 1 (n1): stopped because of rank 0" in ran.reasons


@pytest.mark.parametrize(("node", "rank"), [("n0", 0), ("n1", 1)])
def test_a_rank_killed_while_another_builds_ends_all_and_is_named(built, left, node, rank):
    (built.root / "suites/context/Dockerfile").write_text(SLOW)
    running = built.start()
    until(builds, running)
    assert left() == []
    os.kill(built.agents()[node], signal.SIGKILL)
    ran = ended(built, running, left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    doing = "preparing" if rank == 0 else "waiting for"
    assert f"rank {rank} ({node}) failed while {doing} the image {BUILT}: its process ended" in ran.reasons
    assert f"rank {1 - rank} (n{1 - rank}): stopped because of rank {rank}" in ran.reasons


def test_a_build_that_takes_too_long_names_who_is_late(built, left):
    (built.root / "suites/context/Dockerfile").write_text(SLOW)
    built.nodes = "{count: 2, build_timeout_s: 10}"
    ran = ended(built, built.start(), left)
    assert (ran.status, ran.outcome) == (1, "error"), ran.output
    assert f"image:{BUILT}:published 1/2; rank 0 (n0) preparing the image {BUILT} for" in ran.reasons
