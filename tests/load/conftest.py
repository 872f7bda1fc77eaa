import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from driving import Driver
from wire_server import WireServer

from pytest_bench.load.loop import Loop
from pytest_bench.load.receive_clock import ReceiveClock
from pytest_bench.simulator import Behaviour, Simulator, start

FAST = {"ttft_ms": 0.0, "itl_ms": 0.0}


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One for many tests: each sets its knobs by header, and finds its requests by their ids."""
    log = tmp_path_factory.mktemp("simulator") / "truth.jsonl"
    with start(Behaviour(**FAST), log=log) as running:
        yield running


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Simulator]]:
    """Start a simulator for one test."""
    with ExitStack() as stack:
        count = iter(range(100))
        yield lambda **knobs: stack.enter_context(
            start(Behaviour(**FAST, **knobs), log=tmp_path / f"truth{next(count)}.jsonl")
        )


@pytest.fixture
def drive(tmp_path: Path) -> Driver:
    return Driver(tmp_path)


@pytest.fixture
def wire() -> Iterator[Callable[..., WireServer]]:
    """Start a server that writes what the test says, byte by byte."""
    with ExitStack() as stack:
        yield lambda *scripts, **fields: stack.enter_context(WireServer(*scripts, **fields))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context, folder / "certificate.pem"


@pytest.fixture
def trusted_tls(certificate, monkeypatch):
    """The context of a server that this process and its children trust, by the name of localhost."""
    context, authority = certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    return context


@pytest.fixture
def loop():
    """A receive loop in this process."""
    with closing(Loop(ReceiveClock())) as running:
        yield running
