"""`with-engine` leaves a machine as it was, however the command ends."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("with-engine")


NETWORK = 'iptables-save | sed "/^#/d; s/\\[.*//"; ip -oneline link'
"""Prints what an engine changes in a network namespace."""
WATCHED = f"""
ip link set lo up
({NETWORK}) >before
"$0" "$@"
status=$?
({NETWORK}) >after
exit $status
"""


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    """No engine answers, so that the script starts one."""
    names = ("dockerd", "docker", "unshare", "ip", "iptables-save")
    missing = [name for name in names if not shutil.which(name)]
    if os.geteuid() or missing:
        if os.environ.get("CI"):
            pytest.fail(f"this test needs root, and lacks {missing}")
        pytest.skip("needs root and an installed engine")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent.sock")


def started(*words, **options):
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def nothing_is_left(address):
    """Whether folder, mounts and processes of the engine at `address` are gone."""
    folder = Path(address.strip().removeprefix("unix://")).parent
    used = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in contents(path)]
    return (
        not folder.exists() and str(folder) not in contents(Path("/proc/self/mounts")).decode() and not used
    )


def contents(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the process has ended


def test_nothing_is_left_of_an_engine_whose_command_fails(tmp_path):
    command = "docker network create leftover >/dev/null && docker network ls --format '{{.Name}}'; exit 7"
    script = (SCRIPT, "sh", "-c", f'echo "$DOCKER_HOST"; {command}')
    running = started("unshare", "--net", "sh", "-c", WATCHED, *script, cwd=tmp_path)
    address, *networks = running.communicate()[0].splitlines()
    assert running.returncode == 7
    assert "leftover" in networks
    assert nothing_is_left(address)
    before = (tmp_path / "before").read_text()
    assert (tmp_path / "after").read_text() == before


def test_nothing_is_left_of_an_engine_whose_command_is_ended():
    running = started(SCRIPT, "sh", "-c", 'echo "$DOCKER_HOST"; exec sleep 600')
    address = running.stdout.readline()
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.terminate()
    for pid in children:  # both get the signal, as from a scheduler
        if Path(f"/proc/{pid}/comm").read_text() != "dockerd\n":
            os.kill(int(pid), signal.SIGTERM)
    running.communicate()
    assert running.returncode == 143
    assert nothing_is_left(address)
