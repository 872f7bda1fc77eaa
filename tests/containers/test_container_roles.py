"""Several containers of one deployment, on a real engine."""

import json

import pytest

from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.ownership import PREFIX
from pytest_bench.suite.container_plan import Readiness

SLEEPER = ("python3", "-S", "-c", "import time; print('ready', flush=True); time.sleep(600)")
CONNECT = """
import socket, sys, time
while True:
    try:
        sys.exit(socket.create_connection((sys.argv[1], 8000)).close())
    except OSError:
        time.sleep(0.05)
"""
PREFILL = {"role": "prefill", "serves": False}
DECODE = {"role": "decode", "serves": False}
PROXY = {"role": "proxy"}


def client(*words):
    return {
        "role": "client",
        "serves": False,
        "critical": False,
        "port": None,
        "entrypoint": ("python3", "-S", "-c", *words),
    }


def evidence(folder, role):
    return json.loads((folder / role / "container.json").read_text())


@pytest.fixture
def ours(engine, nonce):
    """A function that returns the containers and networks of the test's session."""

    def found():
        label = {"label": f"{PREFIX}session={nonce}"}
        return engine.containers.list(all=True, filters=label) + engine.networks.list(filters=label)

    return found


def test_roles_are_verified_reach_one_another_by_name_and_are_removed_with_their_network(
    start_several, tmp_path, ours
):
    worker = {"entrypoint": SLEEPER, "port": None, "environment": {"A": "1"}, "arguments": ("--rank", "0")}
    several = [PREFILL, DECODE | worker, PROXY, client(CONNECT, "prefill")]
    with start_several(*several) as containers:
        assert list(containers) == ["prefill", "decode", "proxy", "client"]
        assert containers.serving.url == containers["proxy"].url != containers["prefill"].url
        assert containers["decode"].url == ""
        while not containers.ended():
            containers.require_running()
        assert containers.ended() == {"client": "ended with exit status 0"}
        containers.require_running()
    assert ours() == []
    assert evidence(tmp_path, "client")["ended_early"] is True
    assert evidence(tmp_path, "client")["ended"]["exit_code"] == 0
    assert [evidence(tmp_path, each)["ended_early"] for each in ("prefill", "decode", "proxy")] == [False] * 3
    (verified,) = evidence(tmp_path, "decode")["verified"]
    assert (verified["listener"], verified["command_line"][-2:]) == (1, ["--rank", "0"])


def test_a_decode_server_with_the_parallelism_of_the_prefill_is_an_error_that_names_it(start_several, ours):
    launcher = ("sh", "-c", 'exec python3 -S -c "$0" --tp "$PREFILL_TP"', SLEEPER[-1])
    decode = DECODE | {
        "entrypoint": launcher,
        "port": None,
        "readiness": Readiness(log_pattern="ready"),
        "environment": {"PREFILL_TP": "4"},
        "arguments": ("--tp", "8"),
    }
    with pytest.raises(ContainerError) as raised, start_several(PREFILL, decode, PROXY):
        pytest.fail("it served")
    assert "(role decode) is not as the suite declares it (deployment.containers.decode)" in str(raised.value)
    assert "argument '--tp 4' is in the command line of process 1; asked for '--tp 8'" in str(raised.value)
    assert ours() == []


def test_the_end_of_a_critical_role_ends_the_deployment_with_the_diagnostics_of_all(
    start_several, tmp_path, engine
):
    with pytest.raises(ContainerError) as raised, start_several(PREFILL, DECODE, PROXY) as containers:
        engine.containers.get(evidence(tmp_path, "decode")["name"]).kill()
        while True:
            containers.require_running()
    assert "(role decode) ended with exit status 137" in str(raised.value)
    for role in ("prefill", "decode", "proxy"):
        assert (tmp_path / role / "diagnostics.json").exists()
    assert evidence(tmp_path, "decode")["ended_early"] is True
    assert evidence(tmp_path, "decode")["ended"]["exit_code"] == 137


def test_a_critical_role_that_ends_early_fails_the_start_at_once_although_others_still_load(start_several):
    loading = PROXY | {"entrypoint": SLEEPER}
    decode = DECODE | {"entrypoint": ("sh", "-c", "echo no weights; exit 7")}
    with (
        pytest.raises(ContainerError, match=r"\(role decode\) ended with exit status 7") as raised,
        start_several(loading, decode, timeout_s=3600.0),
    ):
        pytest.fail("it served")
    assert "no weights" in str(raised.value)


def test_a_role_without_a_port_is_verified_after_its_setup(start_several, tmp_path):
    worker = {"entrypoint": SLEEPER, "port": None, "environment": {"A": "1"}, "setup": (("sleep", "1"),)}
    with start_several(DECODE | worker, PROXY):
        (verified,) = evidence(tmp_path, "decode")["verified"]
    assert verified["command_line"] == list(SLEEPER)
