"""The compared clients, and one run of a client against a new server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.process import BENCH, Cost, run
from benchmarks.server import EVENTS, ITL_MS, Server, Stamps
from pytest_bench.errors import LoadError

Command = Callable[[str, int, int, Path], list[str]]
"""(URL, connections, requests, folder for its files) -> command line of a closed loop."""

IMPORTS = {"PYTHONPATH": str(BENCH.parent)}


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    command: Command
    environment: Mapping[str, str] = field(default_factory=dict)
    share: float = 1.0
    """Share of the requests of the at-once workload that it runs, because it is too slow for all."""


def _bare(url: str, connections: int, requests: int, _folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.bare", url, str(connections), str(requests)]


def _wrk(url: str, connections: int, _requests: int, folder: Path) -> list[str]:
    script = folder / "request.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"""wrk.body = '{{"model":"mock","stream":true,"max_tokens":{EVENTS},"messages":[]}}'\n"""
    )
    path = f"{url}/v1/chat/completions"
    return [
        "wrk",
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        "3s",
        "--script",
        str(script),
        path,
    ]


OURS = Client("pytest-bench", ours.closed_loop, IMPORTS)
BARE = Client("bare loop", _bare, IMPORTS)
SGLANG = Client(
    "SGLang Rust", lambda url, connections, requests, _: peers.sglang_rust(url, connections, requests)
)
AIPERF = Client(
    "aiperf",
    lambda url, connections, requests, _: peers.aiperf(url, connections, requests),
    peers.AIPERF_ENVIRONMENT,
    share=0.1,
)
WRK = Client("wrk", _wrk)


@dataclass(frozen=True, slots=True)
class Cores:
    """The core that each side may use; None: any."""

    server: int | None = None
    client: int | None = None


@dataclass(frozen=True, slots=True)
class Driven:
    """Result of one run, measured outside the client."""

    cost: Cost
    stamps: Stamps
    """Stamps of the requested requests, without the client's own warm-up."""
    folder: Path
    """Output of the client, deleted after the run."""

    @property
    def span_s(self) -> float:
        """Time from the first arrival to the last end, by the server's stamps."""
        return float(self.stamps["last_ns"].max() - self.stamps["arrival_ns"].min()) / 1e9


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """A folder for one run, removed after it."""
    runs = BENCH / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=runs) as folder:
        yield Path(folder)


@contextmanager
def driven(
    client: Client,
    connections: int,
    requests: int | None,
    *,
    paced: bool,
    cores: Cores,
    memory: bool = False,
    itl_ms: float = ITL_MS,
) -> Iterator[Driven]:
    """Run `client` in a closed loop against a new server.

    `requests` None: as many as it makes. `itl_ms`: see `Server`. Raises `LoadError` when fewer were completed.
    """
    with (
        fresh_folder() as folder,
        Server(folder, paced=paced, core=cores.server, itl_ms=itl_ms) as server,
    ):
        cost = run(
            client.command(server.url, connections, requests or 0, folder),
            folder=folder,
            core=cores.client,
            memory=memory,
            environment=client.environment,
        )
        stamps = server.stop()
        wanted = len(stamps) if requests is None else requests
        if len(stamps) < wanted or wanted == 0:
            raise LoadError(f"{client.name} completed {len(stamps)} requests of {wanted}")
        yield Driven(cost, stamps[len(stamps) - wanted :], folder)
