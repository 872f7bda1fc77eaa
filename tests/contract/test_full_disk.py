"""A disk that is full, or fills up: refused before anything runs, or red with the reason."""

from __future__ import annotations

import subprocess

import pytest

ON_A_SMALL_DISK = """
disk=$2
mount -t tmpfs -o "size=$1" none "$disk" || exit 90
shift 2
"$@"
status=$?
cp -r "$disk" "$disk.kept" && umount "$disk" && cp -r "$disk.kept/." "$disk" && exit "$status"
"""
"""Runs a command with a disk of its own, and leaves what it wrote where the disk was."""


@pytest.fixture
def small_disk(folder):
    """Says how to run a command that finds a disk of that size at `disk/`."""
    alone = ("unshare", "--map-root-user", "--mount", "bash", "-c", ON_A_SMALL_DISK, "-")
    disk = folder.root / "disk"

    def run_with(size: str) -> tuple[str, ...]:
        return (*alone, size, str(disk))

    (folder.root / "probe").mkdir()
    probe = subprocess.run(
        [*alone, "16k", str(folder.root / "probe"), "true"], capture_output=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {probe.stderr.decode()}")
    disk.mkdir()
    return run_with


def fill(folder, requests: int) -> None:
    folder.edit("bench/tiny.yaml", "concurrency: 1, requests: 2}", f"concurrency: 32, requests: {requests}}}")
    folder.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def test_a_disk_without_room_for_a_verdict_is_refused(folder, small_disk, workers):
    ran = folder.run(workers, results="disk/results", prefix=small_disk("128k"))
    assert ran.status == 4, ran.output
    assert "No space left on device" in ran.output
    assert "with free space for a verdict" in ran.output
    assert ran.verdict["refused"]
    assert ran.junit == {"session::integrity": "error"}


def test_a_disk_that_fills_up_is_red_with_the_reason(folder, small_disk, workers):
    fill(folder, requests=400)
    ran = folder.run(workers, results="disk/results", prefix=small_disk("400k"))
    ran.require(1, "error", one="error", two="error")
    assert "No space left on device" in ran.verdict["points"][0]["reasons"][0]["sentence"]
    assert "No space left on device" in ran.junit_text
    assert "Traceback" not in ran.output


def test_a_limit_on_the_size_of_files_is_handled_like_a_full_disk(folder, workers):
    fill(folder, requests=2000)
    ran = folder.run(workers, "-k", "one", prefix=("bash", "-c", 'ulimit -f 400; exec "$@"', "-"))
    ran.require(1, "error", one="error")
    assert "File too large" in ran.verdict["points"][0]["reasons"][0]["sentence"]


MANY = """
    import pytest

    @pytest.mark.parametrize("number", range(200))
    def test_more(number):
        pass
"""


def test_a_junit_file_that_cannot_be_finished_makes_a_good_session_red(folder, small_disk):
    """There is room for the red file of the start, which is short, and not for what pytest writes."""
    folder.write("bench/test_more.py", MANY)
    ran = folder.run("-n0", "--junitxml=disk/ci.xml", prefix=small_disk("8k"))
    assert ran.status == 1, ran.output
    assert ran.outcomes == {"tiny/perf/one": "pass", "tiny/perf/two": "pass"}
    assert (ran.verdict["status"], ran.faults) == ("error", ["unwritten"])
    assert ran.junit["session::integrity"] == "error"
    assert "ci.xml: cannot be written: No space left on device" in ran.junit_text


@pytest.mark.parametrize("option", ["--results", "--junitxml"])
def test_a_place_that_cannot_be_written_is_refused(folder, option, workers):
    folder.write("file", "in the way")
    ran = folder.run(
        workers, f"{option}={folder.root}/file/below", results=None if option == "--results" else ""
    )
    assert ran.status == 4, ran.output
    assert f"{option}: " in ran.output
    assert "Traceback" not in ran.output
    assert ran.verdict is None or ran.verdict["refused"]
    assert ran.junit in (None, {"session::integrity": "error"})
