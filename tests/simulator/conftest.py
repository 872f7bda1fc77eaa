from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wire_client import Client

from pytest_bench.simulator import Behaviour, Truth, read_truth, start

FAST = {"ttft_ms": 0.0, "itl_ms": 0.0, "video_ms": 0.0}


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Start simulators with the knobs of a test; all end with it."""
    clients: list[Client] = []

    def run(**knobs: object) -> Client:
        log = tmp_path / f"truth{len(clients)}.jsonl"
        clients.append(Client(start(Behaviour(**{**FAST, **knobs}), log=log)))
        return clients[-1]

    yield run
    for client in clients:
        client.close()
        client.simulator.close()


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """A simulator that many tests share: each sets its knobs by header."""
    with start(Behaviour(**FAST)) as simulator:
        shared = Client(simulator)
        yield shared
        shared.close()


@pytest.fixture
def truth_of() -> Callable[[Client], Truth]:
    """End a simulator and read its log."""

    def read(ended: Client) -> Truth:
        ended.simulator.close()
        return read_truth(ended.simulator.log)

    return read
