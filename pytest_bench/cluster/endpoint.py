"""Both ends of a rendezvous: rank 0 accepts the others, and they follow what it decides."""

from __future__ import annotations

import selectors
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pytest_bench.cluster import proof
from pytest_bench.cluster.coordinator import JOINING, MISSES, Coordinator
from pytest_bench.cluster.frames import Abort, Frame, Hello, Leave, Phase, Ping, Ready
from pytest_bench.cluster.joining import HANDSHAKE_S, join, listen
from pytest_bench.cluster.peers import Loop, Peer
from pytest_bench.cluster.place import Place
from pytest_bench.cluster.rendezvous import HEARTBEAT_S, JOIN_S, Rendezvous, closing

_MOST_STRANGERS = 64


@contextmanager
def meet(
    place: Place, secret: bytes, *, join_s: float = JOIN_S, heartbeat_s: float = HEARTBEAT_S
) -> Iterator[Rendezvous]:
    """Meet the other ranks. Rank 0 listens at once; another rank waits for it, at most `join_s`.

    A job of one node opens no connection. Raises `RendezvousError` and `BarrierTimeout`.
    """
    rendezvous = Rendezvous(place.rank, place.size, place.host)
    if place.size == 1:
        yield rendezvous
        return
    thread = (
        _Server(place, secret, rendezvous, join_s, heartbeat_s)
        if place.rank == 0
        else _Client(place, secret, rendezvous, join_s, heartbeat_s)
    )
    thread.start()
    with closing(rendezvous, thread.close):
        yield rendezvous


class _Server(Loop):
    """Rank 0: accepts the other ranks, and sends them what the coordinator decides."""

    def __init__(
        self, place: Place, secret: bytes, rendezvous: Rendezvous, join_s: float, heartbeat_s: float
    ) -> None:
        listener = listen(place)
        super().__init__(rendezvous, heartbeat_s)
        self._place, self._secret, self._listener = place, secret, listener
        self._connected: list[Peer] = []
        self._coordinator = Coordinator(
            place.size, place.host, time.monotonic(), join_s=join_s, heartbeat_s=heartbeat_s
        )
        self._selector.register(listener, selectors.EVENT_READ)
        rendezvous.connect(self._own)

    def _own(self, frame: Frame) -> None:
        self._announce(self._coordinator.receive(0, frame, time.monotonic()))
        self._wake()

    def _announce(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._rendezvous.take(frame)
            for peer in list(self._connected):
                if peer.rank is not None:
                    self._send(peer, frame)

    def _serve(self, peer: Peer | None, events: int) -> None:
        if peer is None:
            self._accept()
            return
        if events & selectors.EVENT_WRITE:
            self._flush(peer)
        if events & selectors.EVENT_READ and peer.sock.fileno() >= 0:
            for frame in self._read(peer):
                self._receive(peer, frame)

    def _accept(self) -> None:
        try:
            sock, address = self._listener.accept()
        except OSError:
            return  # the peer has gone already
        sock.settimeout(0)
        now_s = time.monotonic()
        peer = Peer(
            sock, str(address[0]), proof.challenge(self._place.job, self._place.host), now_s + HANDSHAKE_S
        )
        self._selector.register(sock, selectors.EVENT_READ, peer)
        self._connected.append(peer)
        self._send(peer, peer.challenge)
        strangers = [other for other in self._connected if other.rank is None]
        for other in strangers[:-_MOST_STRANGERS]:
            self._drop(other, "too many connections at once")

    def _receive(self, peer: Peer, frame: Frame) -> None:
        if peer.sock.fileno() < 0:
            return
        now_s = time.monotonic()
        if peer.rank is not None:
            self._announce(self._coordinator.receive(peer.rank, frame, now_s))
        elif isinstance(frame, Hello) and proof.is_proven(self._secret, peer.challenge, frame):
            self._send(peer, proof.welcome(self._secret, peer.challenge, frame))
            found = self._coordinator.join(frame.rank, frame.size, frame.host, now_s)
            if found:  # it does not belong here; it hears why before it is dropped
                for told in found:
                    self._send(peer, told)
            elif self._coordinator.failure is not None:
                self._send(peer, self._coordinator.failure)
            else:
                peer.rank = frame.rank
            self._announce(found)
        else:
            self._drop(peer, "it did not prove that it belongs to the job")

    def _ended(self, peer: Peer, why: str) -> None:
        self._connected.remove(peer)
        if peer.rank is not None:
            self._announce(self._coordinator.lost(peer.rank, why))
        elif self._coordinator.failure is None:
            self._coordinator.refused_peers += 1

    def _tick(self, now_s: float) -> None:
        for peer in list(self._connected):
            if peer.rank is None and now_s > peer.deadline_s:
                self._drop(peer, "it did not prove itself in time")
        self._announce(self._coordinator.tick(now_s))
        if self._is_time_to_beat(now_s):
            for peer in list(self._connected):
                if peer.rank is not None:
                    self._send(peer, Ping())

    def _peers(self) -> Sequence[Peer]:
        return self._connected

    def _close_sockets(self) -> None:
        self._listener.close()
        super()._close_sockets()


class _Client(Loop):
    """Another rank: one connection to rank 0."""

    def __init__(
        self, place: Place, secret: bytes, rendezvous: Rendezvous, join_s: float, heartbeat_s: float
    ) -> None:
        peer = join(place, secret, join_s)
        super().__init__(rendezvous, heartbeat_s)
        self._peer = peer
        self._heard_s = time.monotonic()
        self._phase = JOINING
        """Of rank 0."""
        self._has_left = False
        """Whether rank 0 has left."""
        peer.sock.settimeout(0)
        self._selector.register(peer.sock, selectors.EVENT_READ, peer)
        rendezvous.connect(self._own)

    def _own(self, frame: Frame) -> None:
        if isinstance(frame, Abort):  # known here at once, even if rank 0 is lost
            self._rendezvous.take(frame)
        if self._peer.sock.fileno() >= 0:
            self._send(self._peer, frame)
        self._wake()

    def _serve(self, peer: Peer | None, events: int) -> None:
        if peer is None:
            return
        if events & selectors.EVENT_WRITE:
            self._flush(peer)
        if events & selectors.EVENT_READ and peer.sock.fileno() >= 0:
            for frame in self._read(peer):
                self._heard_s = time.monotonic()
                if isinstance(frame, Phase):
                    self._phase = frame.text
                elif isinstance(frame, Leave):
                    self._has_left = True
                else:
                    self._rendezvous.take(frame)

    def _ended(self, peer: Peer, why: str) -> None:  # noqa: ARG002 # there is only one
        if self._has_left:
            self._rendezvous.connect(self._alone)
            for name in self._rendezvous.waiting():
                self._alone(Ready(name=name, timeout_s=1))
        else:
            self._rendezvous.take(self._failure_of_rank_0(why))

    def _alone(self, frame: Frame) -> None:
        """Rank 0 has left, which is a failure only if this rank still needs it."""
        if isinstance(frame, Ready):
            self._rendezvous.take(
                self._failure_of_rank_0(f"ended without coming to the barrier {frame.name!r}")
            )

    def _failure_of_rank_0(self, why: str) -> Abort:
        return Abort(rank=0, host=self._peer.host, phase=self._phase, reason=why)

    def _tick(self, now_s: float) -> None:
        silent_s = now_s - self._heard_s
        if silent_s > MISSES * self._heartbeat_s:
            self._drop(self._peer, f"no heartbeat for {silent_s:.0f} s")
        elif self._is_time_to_beat(now_s) and self._peer.sock.fileno() >= 0:
            self._send(self._peer, Ping())

    def _peers(self) -> Sequence[Peer]:
        return [self._peer]
