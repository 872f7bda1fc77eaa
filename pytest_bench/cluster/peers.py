"""Connections of a rendezvous, and the thread that reads and writes them."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread

from pytest_bench.cluster.frames import Abort, Challenge, Decoder, Frame, ProtocolError, encode
from pytest_bench.cluster.rendezvous import Rendezvous, RendezvousError

_FLUSH_S = 5.0
_LARGEST_OUTPUT_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 16


@dataclass(eq=False)
class Peer:
    """One connection."""

    sock: socket.socket
    host: str
    challenge: Challenge
    deadline_s: float
    """Until when it must have proven itself."""
    decoder: Decoder = field(default_factory=Decoder)
    output: bytearray = field(default_factory=bytearray)
    rank: int | None = None
    """None until it has proven itself."""


class Loop(Thread):
    """Reads and writes sockets until `close`. The rendezvous' lock guards everything."""

    def __init__(self, rendezvous: Rendezvous, heartbeat_s: float) -> None:
        super().__init__(name="rendezvous", daemon=True)
        self._rendezvous = rendezvous
        self._heartbeat_s = heartbeat_s
        self._beat_s = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.settimeout(0)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._closing_s: float | None = None
        """When `close` was called."""

    def close(self) -> None:
        """Send what is left, and end the thread."""
        with self._rendezvous.changed:
            self._closing_s = time.monotonic()
        self._wake()
        self.join()
        with self._rendezvous.changed:
            self._rendezvous.connect(_refuse)

    def run(self) -> None:
        try:
            while not self._is_done():
                self._turn(self._selector.select(self._heartbeat_s / 4))
        except BaseException as error:
            own = self._rendezvous
            reason = f"its connections failed: {type(error).__name__}: {error}"
            with own.changed:
                own.take(Abort(rank=own.rank, host=own.host, phase="communicating", reason=reason))
            raise
        finally:
            self._close_sockets()

    def _turn(self, ready: Sequence[tuple[selectors.SelectorKey, int]]) -> None:
        with self._rendezvous.changed:
            for key, events in ready:
                if key.fileobj is self._wake_read:
                    self._wake_read.recv(_RECEIVE_BYTES)
                else:
                    self._serve(key.data, events)
            self._tick(time.monotonic())

    def _serve(self, peer: Peer | None, events: int) -> None:
        raise NotImplementedError

    def _tick(self, now_s: float) -> None:
        raise NotImplementedError

    def _peers(self) -> Sequence[Peer]:
        raise NotImplementedError

    def _ended(self, peer: Peer, why: str) -> None:
        """The connection has ended and is closed."""
        raise NotImplementedError

    def _close_sockets(self) -> None:
        for peer in self._peers():
            peer.sock.close()
        self._wake_read.close()
        self._wake_write.close()
        self._selector.close()

    def _is_done(self) -> bool:
        with self._rendezvous.changed:
            if self._closing_s is None:
                return False
            waits = any(peer.output for peer in self._peers())
            return not waits or time.monotonic() > self._closing_s + _FLUSH_S

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake already; closed: it has ended
            self._wake_write.send(b"w")

    def _is_time_to_beat(self, now_s: float) -> bool:
        if now_s < self._beat_s + self._heartbeat_s:
            return False
        self._beat_s = now_s
        return True

    def _watch(self, peer: Peer) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.output else 0)
        self._selector.modify(peer.sock, events, peer)

    def _send(self, peer: Peer, frame: Frame) -> None:
        peer.output += encode(frame)
        self._flush(peer)

    def _flush(self, peer: Peer) -> None:
        try:
            if peer.output:
                del peer.output[: peer.sock.send(peer.output)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._drop(peer, f"the connection was lost: {error.strerror or error}")
            return
        if len(peer.output) > _LARGEST_OUTPUT_BYTES:
            self._drop(peer, "it does not read what it is sent")
            return
        self._watch(peer)

    def _read(self, peer: Peer) -> Sequence[Frame]:
        """Return what a peer sent. A peer that ended, or sends no frames, is dropped."""
        try:
            data = peer.sock.recv(_RECEIVE_BYTES)
            if data:
                return peer.decoder.feed(data)
            self._drop(peer, "its process ended, or the connection was closed")
        except BlockingIOError:
            pass
        except ProtocolError as error:
            self._drop(peer, f"it sent {error}")
        except OSError as error:
            self._drop(peer, f"the connection was lost: {error.strerror or error}")
        return ()

    def _drop(self, peer: Peer, why: str) -> None:
        if peer.sock.fileno() < 0:
            return
        self._selector.unregister(peer.sock)
        peer.sock.close()
        peer.output.clear()
        self._ended(peer, why)


def _refuse(frame: Frame) -> None:
    raise RendezvousError(f"the rendezvous is over: {type(frame).__name__} cannot be sent")
