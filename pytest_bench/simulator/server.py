"""The server's process: it listens, prints where, and ends on a signal or when its parent is gone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.simulator.answers import Answers
from pytest_bench.simulator.behaviour import Behaviour
from pytest_bench.simulator.connection import Connection
from pytest_bench.simulator.service import Service
from pytest_bench.simulator.truth import TruthLog

BACKLOG = 4096
"""Connections that may wait to be accepted: a burst opens all of them at once."""


def serve(behaviour: Behaviour, *, host: str, port: int, log: Path | None, exit_on_eof: bool) -> None:
    """Serve until SIGTERM, SIGINT or, with `exit_on_eof`, the end of standard input.

    Prints one line of JSON, `{"url", "pid"}`, once it listens. Raises `UsageError` for a port that is
    taken, a key that is not in the environment, or files that cannot be read or written, and
    `EvidenceError` if the log could not be written later: it then stops serving at once.
    """
    uvloop.run(_serve(behaviour, host=host, port=port, log=log, exit_on_eof=exit_on_eof))


async def _serve(behaviour: Behaviour, *, host: str, port: int, log: Path | None, exit_on_eof: bool) -> None:
    answers = None if behaviour.answers is None else Answers(Path(behaviour.answers))
    over = asyncio.Event()
    truth = None if log is None else _open_log(log, behaviour, over.set)
    service = Service(behaviour, answers=answers, api_key=_api_key(behaviour), log=truth)
    connections: set[Connection] = set()
    accepted = 0

    def connect() -> Connection:
        nonlocal accepted
        connection = Connection(accepted, service.dispatch, connections)
        accepted += 1
        return connection

    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(connect, host, port, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"the simulator cannot listen on {host}:{port}: {error.strerror or error}"
        ) from error
    _end_on_signal_or_eof(loop, over, exit_on_eof=exit_on_eof)
    address = server.sockets[0].getsockname()
    name = f"[{address[0]}]" if ":" in address[0] else address[0]
    print(
        msgspec.json.encode({"url": f"http://{name}:{address[1]}", "pid": os.getpid()}).decode(), flush=True
    )
    gc.freeze()
    await over.wait()
    server.close()
    for connection in tuple(connections):
        connection.drop()
    if truth is not None:
        truth.close(requests=service.requests, connections=accepted, peak_in_flight=service.slots.peak)
        if truth.fault is not None:
            raise EvidenceError(truth.fault)


def _end_on_signal_or_eof(loop: asyncio.AbstractEventLoop, over: asyncio.Event, *, exit_on_eof: bool) -> None:
    """Set `over` on a signal, and with `exit_on_eof` at the end of standard input."""
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if exit_on_eof:
        descriptor = sys.stdin.fileno()

        def read() -> None:
            with contextlib.suppress(BlockingIOError):
                if not os.read(descriptor, 4096):
                    loop.remove_reader(descriptor)
                    over.set()

        loop.add_reader(descriptor, read)


def _open_log(path: Path, behaviour: Behaviour, on_fault: Callable[[], None]) -> TruthLog:
    try:
        return TruthLog(path, msgspec.structs.asdict(behaviour), on_fault)
    except OSError as error:
        raise UsageError(f"{path}: the simulator cannot write its log: {error.strerror}") from error


def _api_key(behaviour: Behaviour) -> str | None:
    if behaviour.api_key_env is None:
        return None
    key = os.environ.get(behaviour.api_key_env)
    if not key:
        raise UsageError(
            f"the simulator expects a key in the variable {behaviour.api_key_env}, which is not set: export it"
        )
    return key
