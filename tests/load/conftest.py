from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from driving import Driver
from tls_files import make_certificate
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
    return make_certificate(tmp_path_factory.mktemp("tls"), "DNS:localhost")


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
