"""How the ranks of a job find rank 0: it listens at the first free port, and they try all of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NoReturn

from pytest_bench.cluster import proof
from pytest_bench.cluster.frames import (
    PROTOCOL_VERSION,
    Abort,
    Challenge,
    Decoder,
    Frame,
    ProtocolError,
    Welcome,
    encode,
)
from pytest_bench.cluster.peers import Peer
from pytest_bench.cluster.place import Place
from pytest_bench.cluster.rendezvous import BarrierTimeout, RendezvousError

HANDSHAKE_S = 5.0

_RETRY_S = 0.2
_RECEIVE_BYTES = 1 << 16


def listen(place: Place) -> socket.socket:
    """Listen at the first port that is free. Raises `RendezvousError`."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    problems = []
    for port in place.ports:
        try:
            listener = socket.create_server((place.address, port), family=family, backlog=256)
        except OSError as error:
            problems.append(f"{port}: {error.strerror or error}")
        else:
            listener.settimeout(0)
            return listener
    raise RendezvousError(f"rank 0 cannot listen on {place.address}: {'; '.join(problems)}")


def join(place: Place, secret: bytes, join_s: float) -> Peer:
    """Connect to rank 0 of this job, and prove that this rank belongs to it."""
    deadline = time.monotonic() + join_s
    problem = "not tried"
    while time.monotonic() < deadline:
        for port in place.ports:
            try:
                sock = socket.create_connection((place.address, port), timeout=HANDSHAKE_S)
            except OSError as error:
                problem = f"port {port}: {error.strerror or error}"
                continue
            with ExitStack() as unless_joined:
                unless_joined.callback(sock.close)
                try:
                    peer = _greeted(sock, place, secret, port)
                except (OSError, ProtocolError) as error:
                    problem = f"port {port}: {error}"
                    continue
                unless_joined.pop_all()
                return peer
        time.sleep(_RETRY_S)
    raise BarrierTimeout(
        f"rank {place.rank} ({place.host}) did not reach rank 0 at {place.address} within {join_s:g} s; last: {problem}"
    )


def _greeted(sock: socket.socket, place: Place, secret: bytes, port: int) -> Peer:
    """Answer the challenge. Raises `ProtocolError` or `OSError` if the server is not of this job, and
    `RendezvousError` if it is but refuses this rank."""
    decoder = Decoder()
    pending: list[Frame] = []

    def next_frame() -> Frame:
        while not pending:
            data = sock.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            pending.extend(decoder.feed(data))
        return pending.pop(0)

    asked = next_frame()
    if not isinstance(asked, Challenge) or asked.job != place.job:
        raise ProtocolError("the server there belongs to another job")
    if asked.version != PROTOCOL_VERSION:
        raise RendezvousError(
            f"rank 0 at {place.address}:{port} speaks version {asked.version} of the protocol, this rank "
            f"{PROTOCOL_VERSION}: install the same version on all nodes"
        )
    answer = proof.hello(secret, asked, place.rank, place.size, place.host)
    sock.sendall(encode(answer))
    try:
        received = next_frame()
    except ConnectionResetError as error:
        _refuse(place, port, error)
    if not isinstance(received, Welcome) or not proof.is_welcome(secret, asked, answer, received):
        _refuse(place, port, None)
    peer = Peer(sock, asked.host, asked, 0.0, decoder=decoder, rank=0)
    if pending:
        _raise_first(pending, place)
    return peer


def _refuse(place: Place, port: int, error: Exception | None) -> NoReturn:
    raise RendezvousError(
        f"rank {place.rank} ({place.host}) and rank 0 at {place.address}:{port} do not know the same secret: give "
        "every node of the job the same one"
    ) from error


def _raise_first(pending: Sequence[Frame], place: Place) -> None:
    for frame in pending:
        if isinstance(frame, Abort):
            raise RendezvousError(f"rank {place.rank} ({place.host}) was not admitted: {frame.reason}")
