"""A client that shows what is on the wire, and reads it without the project's own readers."""

import socket
import time
from collections.abc import Callable

import httpx
import msgspec

from pytest_bench.simulator import Simulator


class Answer(msgspec.Struct):
    """What came over a raw socket until the server was done."""

    raw: bytes
    reset: bool = False

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        body = self.raw.partition(b"\r\n\r\n")[2]
        return unchunk(body) if b"transfer-encoding: chunked" in self.head else body

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])


def unchunk(data: bytes) -> bytes:
    """What chunks hold; stops at the end of what came."""
    parts, position = [], 0
    while position < len(data):
        line = data.index(b"\r\n", position)
        length = int(data[position:line], 16)
        if length == 0:
            break
        parts.append(data[line + 2 : line + 2 + length])
        position = line + 2 + length + 2
    return b"".join(parts)


def encode(path: str, body: object, **headers: object) -> bytes:
    """A request as bytes; `x_sim_…` and other names become headers."""
    data = msgspec.json.encode(body)
    lines = [f"POST {path} HTTP/1.1", "host: simulator", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + data


class Client:
    """Talks to one simulator: through httpx where framing does not matter, else through a raw socket."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.url = simulator.url
        self.http = httpx.Client(base_url=simulator.url, trust_env=False, timeout=10)

    def close(self) -> None:
        self.http.close()

    def connect(self) -> socket.socket:
        host, port = self.url.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=10)

    def raw(self, request: bytes) -> Answer:
        """Send, and read until the stream ends, or the server closes or resets."""
        with self.connect() as connection:
            connection.sendall(request)
            answer = Answer(b"")
            try:
                while data := connection.recv(65536):
                    answer.raw += data
                    if answer.raw.endswith(b"\r\n0\r\n\r\n"):
                        break
            except ConnectionResetError:
                answer.reset = True
            return answer

    def chat(
        self, prompt: str = "hello", *, stream: bool = True, body: dict | None = None, **headers
    ) -> Answer:
        """One chat request on a connection of its own."""
        asked = {"model": "simulated", "messages": [{"role": "user", "content": prompt}], "stream": stream}
        asked |= {"max_tokens": 4, **(body or {})}
        headers.setdefault("connection", "close")
        return self.raw(encode("/v1/chat/completions", asked, **headers))

    def metrics(self) -> dict[str, float]:
        lines = [line for line in self.http.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def payloads(body: bytes) -> list[bytes]:
    """Data of each event, read as the standard says; keep-alives (no data, or null) are left out."""
    events, data = [], []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if not line and data:
            if data not in ([b""], [b"null"]):
                events.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return events


def chunks(body: bytes) -> list[dict]:
    """Events as JSON, [DONE] left out."""
    return [msgspec.json.decode(data) for data in payloads(body) if data != b"[DONE]"]


def text(body: bytes) -> str:
    """Content of a chat stream."""
    choices = [choice for chunk in chunks(body) for choice in chunk.get("choices", [])]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def until(condition: Callable[[], object]) -> None:
    """Ask until it holds; ten seconds are enough on any machine."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition never held")
