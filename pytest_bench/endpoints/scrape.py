"""Reads the server's own metrics before and after a phase and, on request, during it.

Each reading is one line of `metrics.<e>.jsonl` in the phase's folder, where `<e>` is the endpoint's position
in the deployment (format: `pytest_bench.lines`). The served text of a reading with a label is stored beside it.
If the server has no metrics, the log says so.
This runs in the process that supervises load, never in a load worker.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from pytest_bench import clock
from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Client, NoAnswer, excerpt
from pytest_bench.endpoints.headers import NO_HEADERS, Headers
from pytest_bench.errors import EndpointError
from pytest_bench.lines import LineReader, encode_line, end_line, header_line
from pytest_bench.redaction import redact_bytes

METRICS_LOG = "metrics"
METRICS_VERSION = 1

LIMIT_BYTES = 16 << 20
"""Most bytes of a reading that are held."""

# Possessive, so that a hostile line costs linear time.
_LINE = re.compile(
    r"""(?P<series>[a-zA-Z_:][a-zA-Z0-9_:]*+(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?)"""
    r"[ \t]+(?P<value>[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf(?:inity)?|nan)))"
    r"(?:[ \t]+.*)?"
)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a server's metrics: one line of the log."""

    label: str | None
    """`before`, `after`, …; None for a reading at an interval."""
    asked_ns: int
    """CLOCK_MONOTONIC before the request was sent."""
    answered_ns: int
    samples: dict[str, float | None] | None
    """Value by series, spelled as the server spells it (`name{label="value"}`). NaN and infinities are null
    in the log. None if the server gave none."""
    missing: str | None
    """Why there are no samples."""


_TIMEOUT_S = 5.0


class MetricsLog:
    """Readings of one server during one phase. A context manager: leaving it closes the log.

    Raises `OSError` if the log cannot be written. Failures of the server are recorded, not raised.
    """

    def __init__(
        self,
        url: str,
        path: str,
        folder: Path,
        *,
        nonce: str,
        endpoint: int = 0,
        headers: Headers = NO_HEADERS,
    ) -> None:
        """`nonce`, of the session, goes into the header of the log."""
        address = parse_url(url)
        self._path = path
        self._stem = folder / f"{METRICS_LOG}.{endpoint}"
        self._client = Client(address, headers)
        self._lines = 0
        self._log = Path(f"{self._stem}.jsonl").open("xb")  # noqa: SIM115 # closed by leaving this object
        self._log.write(header_line(METRICS_LOG, METRICS_VERSION, nonce=nonce, url=address.url, path=path))
        self._log.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._log:
            self._log.write(end_line(self._lines))
            self._log.flush()
            os.fsync(self._log.fileno())

    def read(self, label: str | None = None) -> Reading:
        """Read the metrics now. With a label, the text is kept as `metrics.<e>.<label>.prom`."""
        asked_ns = clock.monotonic_ns()
        answer = self._client.exchange("GET", self._path, timeout_s=_TIMEOUT_S, limit_bytes=LIMIT_BYTES)
        answered_ns = clock.monotonic_ns()
        samples: dict[str, float | None] | None = None
        missing = None
        if isinstance(answer, NoAnswer):
            missing = f"GET {self._path}: {answer.reason}"
        elif not answer.ok:
            missing = f"GET {self._path}: {answer.status} {excerpt(answer.body)}".rstrip()
        else:
            body = redact_bytes(answer.body)
            if label is not None:
                Path(f"{self._stem}.{label}.prom").write_bytes(body)
            try:
                samples = {**parse_metrics(body)}
            except EndpointError as error:
                missing = f"GET {self._path}: {error}"
        reading = Reading(
            label=label, asked_ns=asked_ns, answered_ns=answered_ns, samples=samples, missing=missing
        )
        self._log.write(encode_line(msgspec.json.encode(reading)))
        self._log.flush()
        self._lines += 1
        return reading

    def follow(self, over: threading.Event, interval_s: float | None, begun: Callable[[], None]) -> None:
        """Read before a phase, call `begun`, read every `interval_s` (None: not) until `over` is set, and read again.

        A reading that takes longer than the interval delays the next ones; readings never overlap.
        """
        self.read("before")
        begun()
        due_s = time.monotonic()
        while True:
            wait_s = None
            if interval_s is not None:
                now_s = time.monotonic()
                due_s = max(due_s + interval_s, now_s)
                wait_s = due_s - now_s
            if over.wait(wait_s):
                break
            self.read()
        self.read("after")


def read_readings(path: Path) -> Iterator[Reading]:
    """Yield the readings of a log. Raises `EvidenceError` with file and line for a damaged one."""
    decode = msgspec.json.Decoder(Reading).decode
    yield from LineReader(path, METRICS_LOG, METRICS_VERSION).records(decode, "a reading of metrics")


def parse_metrics(text: bytes) -> dict[str, float]:
    """Value by series from the Prometheus text format (0.0.4) or OpenMetrics; comments and times left out.

    Raises `EndpointError` naming the first line that is neither, and for a series given twice.
    """
    samples: dict[str, float] = {}
    for number, line in enumerate(text.decode("utf-8", "replace").split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            raise EndpointError(f"line {number} is not in the Prometheus text format: {stripped[:80]!r}")
        if match["series"] in samples:
            raise EndpointError(f"line {number} gives {match['series'][:80]!r} a second time")
        samples[match["series"]] = float(match["value"])
    return samples
