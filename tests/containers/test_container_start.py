"""A container is started as asked, and verified to be so: on a real engine."""

import json
import os
import socket
import sys
import urllib.request

import pytest
from simulator_image import LISTENER, SERVER

from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.ownership import OWNER

AWKWARD = {"SPACES": " a  b ", "LINES": "a\nb\n", "DOLLAR": "$HOME ${x} `y`", "EQUALS": "a=b=", "EMPTY": ""}
PATHS = ("PATH=/usr/local/bin:/usr/bin", f"PYTHONHOME={sys.base_prefix}", "PYTHONPATH=/opt")


def evidence(folder):
    return json.loads((folder / "container.json").read_text())


def refused(start, message, **fields):
    with pytest.raises(ContainerError, match=message) as raised, start(**fields):
        pytest.fail("it served")
    return str(raised.value)


def test_a_server_gets_the_environment_and_arguments_that_were_asked_for(start, tmp_path, engine):
    with start(entrypoint=SERVER, environment=AWKWARD, arguments=("--ttft-ms", "1")) as container:
        with urllib.request.urlopen(f"{container.url}/health") as answer:
            assert answer.status == 200
        written = evidence(tmp_path)
        labels = engine.containers.get(container.name).labels
    assert container.url.startswith("http://127.0.0.1:")
    assert written["environment"] == sorted(AWKWARD)
    assert written["verified"][0]["command_line"][-2:] == ["--ttft-ms", "1"]
    assert labels["pytest-inference-bench.pid"] == str(os.getpid())
    assert engine.containers.list(all=True, filters={"label": f"{OWNER}={labels[OWNER]}"}) == []
    assert evidence(tmp_path)["ended"]["out_of_memory"] is False


def test_a_sudo_that_clears_the_environment_is_an_error_that_names_what_is_lost(start):
    message = r"EVAL_CONC is missing in the environment of process [0-9]+.*; asked for '8'"
    refused(start, message, entrypoint=("sudo", "env", *PATHS, *LISTENER), environment={"EVAL_CONC": "8"})


def test_a_sudo_that_keeps_the_environment_passes(start, tmp_path):
    command = ("sudo", "--preserve-env=EVAL_CONC", "env", *PATHS, *LISTENER)
    with start(entrypoint=command, environment={"EVAL_CONC": "8"}):
        assert evidence(tmp_path)["verified"][0]["listener"] != 1


def test_a_launcher_that_drops_a_variable_is_an_error(start):
    environment = {"HF_HUB_OFFLINE": "1", "KEPT": "1"}
    story = refused(
        start,
        "HF_HUB_OFFLINE is missing",
        entrypoint=("env", "-u", "HF_HUB_OFFLINE", *LISTENER),
        environment=environment,
    )
    assert "KEPT" not in story


def test_a_decode_server_with_the_parallelism_of_the_prefill_is_an_error(start):
    launcher = ("sh", "-c", 'exec python3 -S -c "$0" --tp "$PREFILL_TP"', LISTENER[-1])
    refused(
        start,
        "argument '--tp 4' is in the command line of process 1; asked for '--tp 8'",
        entrypoint=launcher,
        environment={"PREFILL_TP": "4", "DECODE_TP": "8"},
        arguments=("--tp", "8"),
    )


RETITLED = f"""
import ctypes
fields = open("/proc/self/stat").read().rpartition(")")[2].split()
for start, end in ((45, 46), (47, 48)):  # arguments, then environment, of proc(5), counted from the state
    ctypes.memset(int(fields[start]), 0, int(fields[end]) - int(fields[start]))
{LISTENER[-1]}
"""


def test_a_server_that_has_overwritten_its_environment_is_verified_by_its_parent(start, tmp_path):
    parent = ("sh", "-c", '"$@"; exit $?', "launch", "python3", "-c", RETITLED)
    with start(entrypoint=parent, environment={"A": "1"}, arguments=("--ttft-ms", "2")):
        (verified,) = evidence(tmp_path)["verified"]
    assert (verified["source"], verified["listener"] > 1) == (1, True)


def test_without_a_parent_that_shows_the_environment_the_start_fails(start):
    refused(
        start,
        "the environment of process 1 cannot be verified",
        entrypoint=("python3", "-c", RETITLED),
        environment={"A": "1"},
    )


def test_an_early_exit_fails_at_once_with_the_end_of_the_log(start, tmp_path):
    story = refused(
        start,
        "ended with exit status 7",
        entrypoint=("sh", "-c", "echo no weights >&2; exit 7"),
        timeout_s=3600.0,
    )
    assert "no weights" in story
    assert json.loads((tmp_path / "diagnostics.json").read_text())["state"]["state"]["ExitCode"] == 7


def test_a_server_that_never_listens_is_an_error_with_the_end_of_the_log(start):
    story = refused(
        start,
        "did not get ready in time: none of its processes listens on port 8000",
        entrypoint=("sh", "-c", "echo loading; exec sleep 600"),
        timeout_s=1.0,
    )
    assert "loading" in story


def test_further_ports_are_published_at_free_ports_of_the_host(start, tmp_path):
    server = LISTENER[-1].replace("time.sleep", "t = socket.create_server(('', 9000)); time.sleep")
    with start(entrypoint=(*LISTENER[:-1], server), ports=(9000,)) as container:
        published = evidence(tmp_path)["published"]
        assert set(published) == {"8000/tcp", "9000/tcp"}
        assert container.url == f"http://{published['8000/tcp']}"
        address, _, port = published["9000/tcp"].partition(":")
        socket.create_connection((address, int(port))).close()


def test_on_the_network_of_the_host_the_port_is_the_declared_one(start):
    port = unused_port()
    command = ("python3", "-m", "pytest_bench.simulator", "--host", "127.0.0.1", "--port", str(port))
    with start(entrypoint=command, network="host", port=port) as container:
        assert container.url == f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{container.url}/health") as answer:
            assert answer.status == 200


def test_on_the_network_of_the_host_a_port_that_is_taken_is_refused_before_the_start(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(start, f"port {port} of this host is not free", network="host", port=port)


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_setup_runs_before_the_server_with_each_word_as_it_is_written(start):
    setup = (
        ("sh", "-c", 'printf "%s|" "$@" > /tmp/words', "words", "a b", "$HOME", "", "c\nd"),
        ("cat", "/tmp/words"),
    )
    with start(setup=setup, environment={"A": "1"}) as container:
        container.settle_log()
        # The log ends in a line without an end, which is written when the container has ended.
    assert container.log.path.read_text() == "a b|$HOME||c\nd|"


def test_a_setup_command_that_fails_stops_the_start(start):
    setup = (("env", "-i"), ("sh", "-c", "echo unexpected shape; exit 3"))
    story = refused(start, "ended with exit status 125", setup=setup)
    # The engine may swap lines of the two output streams.
    assert {"unexpected shape", "setup command 2 failed with status 3"} <= set(story.splitlines())


def test_an_image_that_no_source_has_is_an_error_with_the_reason_of_each(start):
    # Nothing listens on port 1 of this machine.
    story = refused(start, "the image localhost:1/nobody:x cannot be had", image="localhost:1/nobody:x")
    assert "not present: the engine has no image localhost:1/nobody:x" in story
    assert "not pulled: the pull of localhost:1/nobody:x" in story


def test_artifacts_are_copied_out_with_their_digests_also_after_a_failure(start, tmp_path):
    script = "mkdir /out; echo 1 > /out/perf_a.csv; echo 2 > /out/other; exit 9"
    refused(
        start,
        "ended with exit status 9",
        entrypoint=("sh", "-c", script),
        artifacts=("/out/perf_*.csv", "/out/missing.log", "/absent/x"),
    )
    written = evidence(tmp_path)
    (artifact,) = written["artifacts"]
    assert (artifact["source"], artifact["size_bytes"]) == ("/out/perf_a.csv", 2)
    assert (tmp_path / artifact["path"]).read_text() == "1\n"
    assert written["problems"] == [
        "/out/missing.log: matches no file of the container",
        "/absent: does not exist in the container",
    ]


def test_the_ends_of_declared_files_are_part_of_the_diagnostics(start, tmp_path):
    script = """
mkdir -p /run_logs/older
i=0; while [ $i -lt 3000 ]; do echo "line $i, long enough"; i=$((i+1)); done > /run_logs/server.log
echo short > /run_logs/b.csv
echo inner > /run_logs/older/c.log
exit 9"""
    refused(
        start,
        "ended with exit status 9",
        entrypoint=("sh", "-c", script),
        diagnostics=("/run_logs/*.log", "/gone/x"),
        artifacts=("/run_logs/b.csv",),
    )
    found = json.loads((tmp_path / "diagnostics.json").read_text())
    ends = found["files of /run_logs"]
    assert set(ends) == {"/run_logs/server.log", "/run_logs/b.csv"}
    assert ends["/run_logs/b.csv"] == ["short"]
    assert ends["/run_logs/server.log"][-1] == "line 2999, long enough"
    assert sum(len(line) + 1 for line in ends["/run_logs/server.log"]) == 16 << 10
    assert found["files of /gone"] == {"problems": ["/gone: does not exist in the container"]}


def test_replaced_mounts_of_a_manifest_are_in_the_evidence(start, tmp_path):
    sentence = "/models is /mine, the model's own mount, instead of /shared (context)"
    with start(replaced_mounts=(sentence,)):
        assert evidence(tmp_path)["replaced_mounts"] == [sentence]
