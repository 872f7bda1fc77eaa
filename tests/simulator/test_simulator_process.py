import os
import resource
import select
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import httpx
import msgspec
import pytest
from wire_client import Client, until

from pytest_bench.errors import EndpointError
from pytest_bench.simulator import Behaviour, read_truth, start
from pytest_bench.simulator.__main__ import main

PROGRAM = [sys.executable, "-m", "pytest_bench.simulator"]


@pytest.fixture
def program():
    """Runs the program as a shell would; kills what a test leaves running."""
    running = []

    def run(*arguments, **options):
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def ready(process):
    assert select.select([process.stdout], [], [], 10)[0]
    return msgspec.json.decode(process.stdout.readline())


def listens(url):
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except ConnectionError:
        return False
    return True


def test_it_serves_until_it_is_closed_and_closing_twice_is_fine():
    simulator = start(Behaviour(model="m"))
    client = Client(simulator)
    assert client.http.get("/v1/models").json()["data"][0]["id"] == "m"
    client.close()
    simulator.close()
    simulator.close()
    with pytest.raises(ProcessLookupError):
        os.kill(simulator.pid, 0)
    assert not listens(simulator.url)


def test_it_starts_in_any_working_folder(tmp_path, monkeypatch):
    (tmp_path / "uvloop.py").write_text("raise ImportError('a file of the user')")
    monkeypatch.chdir(tmp_path)
    with start(Behaviour()) as simulator:
        assert simulator.url.startswith("http://127.0.0.1:")


def test_a_port_that_is_in_use_is_an_error_with_that_reason(program):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = program("--port", str(port))
        _, errors = process.communicate()
    assert (process.returncode, f"cannot listen on 127.0.0.1:{port}" in errors.decode()) == (2, True)


def test_a_log_that_exists_is_not_written_over(tmp_path):
    (tmp_path / "log").write_text("precious")
    with pytest.raises(EndpointError, match="cannot write its log"):
        start(Behaviour(), log=tmp_path / "log")
    assert (tmp_path / "log").read_text() == "precious"


def fill(simulator):
    """Send requests until the simulator is gone."""
    with (
        httpx.Client(base_url=simulator.url, trust_env=False, timeout=10) as client,
        pytest.raises(httpx.TransportError),
    ):
        while True:
            client.post("/generate", json={"text": "x", "sampling_params": {"max_new_tokens": 1}})


def test_a_log_that_reaches_a_size_limit_stops_the_simulator_with_a_message(tmp_path):
    simulator = start(Behaviour(ttft_ms=0), log=tmp_path / "log")
    simulator.require_running()
    resource.prlimit(simulator.pid, resource.RLIMIT_FSIZE, (4096, 4096))
    fill(simulator)
    until(lambda: not listens(simulator.url))
    with pytest.raises(EndpointError, match=r"log: the simulator cannot write its log: File too large"):
        simulator.close()
    assert (tmp_path / "log").stat().st_size == 4096
    simulator.close()


def test_a_log_whose_last_lines_do_not_fit_is_reported_when_the_simulator_is_closed(tmp_path):
    simulator = start(Behaviour(), log=tmp_path / "log")
    size = (tmp_path / "log").stat().st_size
    resource.prlimit(simulator.pid, resource.RLIMIT_FSIZE, (size + 5, size + 5))
    with pytest.raises(EndpointError, match="the simulator cannot write its log"):
        simulator.close()


def test_a_simulator_that_was_killed_is_reported():
    with start(Behaviour()) as simulator:
        os.kill(simulator.pid, signal.SIGKILL)
        os.waitid(os.P_PID, simulator.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(EndpointError, match=r"the simulator stopped \(exit status -9\)"):
            simulator.require_running()


def test_a_program_whose_log_cannot_be_written_ends_with_status_1(program, tmp_path):
    process = program(
        *("--port", "0", "--log", str(tmp_path / "log"), "--exit-on-eof"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)),
    )
    fill(SimpleNamespace(url=ready(process)["url"]))
    assert process.wait(10) == 1
    assert process.stderr.read().decode().startswith(f"error: {tmp_path}/log: the simulator cannot write")


def test_a_key_that_is_not_in_the_environment_is_an_error(monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(EndpointError, match="NO_SUCH_KEY"):
        start(Behaviour(api_key_env="NO_SUCH_KEY"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_its_log_complete(program, tmp_path, number):
    process = program("--port", "0", "--log", str(tmp_path / "log"))
    assert ready(process)["pid"] == process.pid
    process.send_signal(number)
    assert process.wait(10) == 0
    assert read_truth(tmp_path / "log").peak_in_flight == 0


def test_it_ends_with_its_standard_input_if_the_option_is_given(program):
    process = program("--port", "0", "--exit-on-eof")
    ready(process)
    process.stdin.close()
    process.stdin = None
    assert process.wait(10) == 0


def test_it_does_not_outlive_a_parent_that_was_killed():
    script = (
        "from pytest_bench.simulator import Behaviour, start\n"
        "print(start(Behaviour()).url, flush=True)\n"
        "import signal; signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        url = parent.stdout.readline().decode().strip()
        assert listens(url)
        parent.kill()
    until(lambda: not listens(url))


def test_requests_in_flight_do_not_delay_its_end():
    with start(Behaviour(ttft_ms=60_000.0)) as simulator:
        client = Client(simulator)
        with client.connect() as connection:
            connection.sendall(b'POST /generate HTTP/1.1\r\ncontent-length: 12\r\n\r\n{"text":"x"}')
            until(lambda: client.metrics()["simulator_requests_in_flight"] == 1)
            client.close()
            simulator.close()
            assert connection.recv(1) == b""


def test_arguments_set_knobs(program):
    process = program(
        "--port", "0", "--model", "m", "--no-health", "--fault", "http_503", "--cheat", "first_eos"
    )
    with httpx.Client(base_url=ready(process)["url"], trust_env=False) as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == "m"
        assert client.get("/health").status_code == 404
        assert client.post("/generate", json={"text": "x"}).status_code == 503


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "rset=0.1"], "did you mean 'reset'"),
        (["--fault", "reset=often"], "NAME=PROBABILITY"),
        (["--ttft-ms", "soon"], "ttft_ms"),
        (["--behaviour", "[]"], "--behaviour"),
        (["--behaviour", '{"modle": "m"}'], "did you mean 'model'"),
        (["--answers", "no-such-file"], "no-such-file"),
    ],
)
def test_a_mistake_in_the_arguments_is_exit_status_2_without_a_traceback(capsys, arguments, message):
    assert main(["--port", "0", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert "Traceback" not in told


def test_help_names_every_knob_and_gives_an_example(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert all("--" + name.replace("_", "-") in told for name in Behaviour.__struct_fields__)
    assert "example:" in told


def test_importing_the_package_loads_neither_event_loop_nor_parser():
    script = "import sys, pytest_bench.simulator; sys.exit(bool({'uvloop', 'httptools'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
