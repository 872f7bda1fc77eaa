"""`with-engine` leaves a machine as it was, however the command ends."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("with-engine")


def machine():
    """The parts of a machine that an engine changes."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return {
        "rules": [line for line in rules.splitlines() if line.startswith(("-", ":"))],
        "interfaces": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "folders": sorted(str(path) for path in Path("/tmp").glob("pytest-bench-engine.*")),  # of the script
        "mounts": sorted(
            line.split()[1]
            for line in Path("/proc/self/mounts").read_text().splitlines()
            if "pytest-bench-engine" in line
        ),
    }


@pytest.fixture
def started(monkeypatch):
    """A function that starts the script with a command for a shell, where no engine answers."""
    missing = [
        name for name in ("dockerd", "docker", "unshare", "ip", "iptables-save") if not shutil.which(name)
    ]
    if os.geteuid() or missing:
        if os.environ.get("CI"):
            pytest.fail(f"this test needs root, and lacks {missing}")
        pytest.skip("needs root and an installed engine")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")
    return lambda text: subprocess.Popen(
        [SCRIPT, "sh", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_nothing_is_left_of_an_engine_whose_command_fails(started):
    before = machine()
    running = started("docker network create leftover && docker network ls --format '{{.Name}}'; exit 7")
    output, _ = running.communicate()
    assert running.returncode == 7, output
    assert "leftover" in output.split()
    assert machine() == before


def test_nothing_is_left_of_an_engine_whose_command_is_ended(started):
    before = machine()
    running = started("echo begun; exec sleep 600")
    assert running.stdout.readline() == "begun\n"
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.terminate()
    for pid in children:  # both get the signal, as from a scheduler
        if Path(f"/proc/{pid}/comm").read_text() != "dockerd\n":
            os.kill(int(pid), signal.SIGTERM)
    running.communicate()
    assert running.returncode == 143
    assert machine() == before
