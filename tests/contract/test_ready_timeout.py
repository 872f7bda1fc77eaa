"""The command line can set how long to wait for an endpoint."""

import socket

import pytest


@pytest.fixture
def closed_port():
    """A port that refuses connections: bound, so that no other process takes it, and not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_with_no_time_to_wait_a_refused_connection_is_tried_once(folder, closed_port):
    folder.edit("bench/tiny.yaml", "ready_timeout_s: 5", "ready_timeout_s: 600")
    folder.endpoint = f"http://127.0.0.1:{closed_port}"
    ran = folder.run("-n0", "-k", "one", "--ready-timeout=0")
    ran.require(1, "error", one="error")
    (reason,) = {reason["sentence"] for reason in ran.verdict["points"][0]["reasons"]}
    assert "not ready within 0 s: GET /health: connection refused." in reason
    assert "--ready-timeout=0" in ran.verdict["invocation"]["command_line"]


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon"])
def test_an_invalid_time_to_wait_is_refused_before_anything_runs(folder, seconds):
    ran = folder.run("-n0", f"--ready-timeout={seconds}")
    assert ran.status == 4
    assert "--ready-timeout" in ran.output
