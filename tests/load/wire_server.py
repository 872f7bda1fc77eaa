"""A server on loopback that writes exactly the bytes a test asks for."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
EVENTS = [CHUNK.encode() % word for word in (b"one", b" two", b" three")] + [STOP]
BODY = b'{"choices":[{"index":0,"message":{"content":"one two three"},"finish_reason":"stop"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = CHUNKED + b"".join(map(chunk, EVENTS)) + b"0\r\n\r\n"
"""A whole answer in one piece."""


@dataclass
class Turn:
    """One request, and the socket to answer it on."""

    connection: int
    """Position of the connection in the order of accepting."""
    position: int
    """Position of the request on its connection."""
    number: int
    """Position of the request in the order of arrival."""
    head: bytes
    body: bytes
    socket: socket.socket

    def write(self, data: bytes) -> None:
        """As one packet, as far as TCP allows."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    def reset(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class WireServer:
    """Answers every request with `answer`, on a thread for each connection; an eager one once it has read
    the head."""

    def __init__(
        self,
        answer: Callable[[Turn], None] = lambda turn: turn.write(STREAM),
        *,
        tls: ssl.SSLContext | None = None,
        eager: bool = False,
        on_accept: Callable[[int, socket.socket], None] = lambda number, accepted: None,
    ) -> None:
        self.turns: list[Turn] = []
        self.connections = 0
        self._answer = answer
        self._on_accept = on_accept
        self._tls = tls
        self._eager = eager
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for opened in self._open:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for opened in self._open:
            opened.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self._open.append(accepted)
                number, self.connections = self.connections, self.connections + 1
                self._on_accept(number, accepted)
                self._start(self._serve, number, accepted)

    def _serve(self, number: int, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                accepted = self._tls.wrap_socket(accepted, server_side=True)
                self._open.append(accepted)
            received, position = b"", 0
            while True:
                while b"\r\n\r\n" not in received:
                    received += _receive(accepted)
                head, _, received = received.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                while len(received) < length and not self._eager:
                    received += _receive(accepted)
                body, received = received[:length], received[length:]
                with self._lock:
                    turn = Turn(number, position, len(self.turns), head, body, accepted)
                    self.turns.append(turn)
                position += 1
                self._answer(turn)


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise OSError("closed")
    return data
