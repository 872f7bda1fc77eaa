"""Raw bytes of an eval's first calls, and of every call that failed or was cut off: exactly what the server sent.

    raw.0.jsonl    {"request_id", "request", "status", "content_type", "response"}

Bytes that are not UTF-8 are in `request_base64` or `response_base64` instead.
"""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec

from pytest_bench.lines import header_line
from pytest_bench.load.exchange import Exchange
from pytest_bench.load.log import LogWriter
from pytest_bench.records import RequestRecord
from pytest_bench.workload import RunSpec

RAW_VERSION = 1
_FIRST_CALLS = 3


class RawLog:
    """Writes the file in the folder of the only phase of `run`."""

    def __init__(self, run: RunSpec) -> None:
        phase = run.phases[0]
        self._log = LogWriter(
            Path(phase.folder) / "raw.0.jsonl",
            header_line("raw", RAW_VERSION, nonce=run.nonce, point=run.point, phase=phase.label),
        )

    @property
    def fault(self) -> str | None:
        return self._log.fault

    def add(self, exchange: Exchange, record: RequestRecord) -> None:
        """Keep the bytes of an attempt that has ended, if it is one of those that are kept."""
        if (
            record.outcome == "failed"
            or record.limit
            or (record.index < _FIRST_CALLS and exchange.attempt == 1)
        ):
            fields = {
                "request_id": record.request_id,
                "status": record.status,
                "content_type": exchange.content_type,
                **_readable("request", exchange.request),
                **_readable("response", b"".join(exchange.body)),
            }
            self._log.append(msgspec.json.encode(fields))

    def flush(self) -> None:
        self._log.flush()

    def close(self) -> None:
        self._log.close()


def _readable(name: str, data: bytes) -> dict[str, str]:
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}
