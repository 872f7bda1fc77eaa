"""A minimal Python client: a uvloop + httptools loop that decodes and stores nothing.

The yardstick of the load engine's cost. It keeps a number of requests in flight, feeds every byte to
the HTTP parser, lets body data go unread, and issues the next request when a response is complete.
No stamps, no events, no JSON, no records.

    python -m benchmarks.bare URL CONNECTIONS REQUESTS

The server decides whether responses come at once or paced; to this loop it is all the same.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from urllib.parse import urlsplit

import httptools
import uvloop


class Loop:
    """State shared by the connections of one run: the request and the number left to issue."""

    def __init__(self, request: bytes, requests: int) -> None:
        self.request = request
        self.to_issue = requests
        self.to_complete = requests
        self.done = asyncio.get_running_loop().create_future()


class Connection(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, run: Loop) -> None:
        self._run = run
        self._transport: asyncio.Transport
        self._feed = httptools.HttpResponseParser(self).feed_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # TCP transports are asyncio.Transport
        self._issue()

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def on_body(self, data: bytes) -> None:
        pass

    def on_message_complete(self) -> None:
        self._run.to_complete -= 1
        if self._run.to_complete == 0:
            self._run.done.set_result(None)
        self._issue()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._run.done.done():
            self._run.done.set_exception(exc or ConnectionError("the server closed a connection"))

    def _issue(self) -> None:
        if self._run.to_issue:
            self._run.to_issue -= 1
            self._transport.write(self._run.request)


def encode(host: str, port: int) -> bytes:
    body = json.dumps(
        {
            "model": "mock",
            "messages": [{"role": "user", "content": "the quick brown fox jumps over the lazy dog"}],
            "max_tokens": 128,
            "stream": True,
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def drive(url: str, connections: int, requests: int) -> None:
    """Complete `requests` with `connections` in flight. Raises `ConnectionError` if the server ends."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    run = Loop(encode(host, port), requests)
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_connection(lambda: Connection(run), host, port))[0] for _ in range(connections)
    ]
    await run.done
    for transport in transports:
        transport.close()


def main() -> None:
    url, connections, requests = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    gc.freeze()
    gc.disable()
    uvloop.run(drive(url, connections, requests))


if __name__ == "__main__":
    main()
