"""One phase in a load worker: it encodes requests, logs their results, and counts them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

from pytest_bench.load.bodies import Bodies
from pytest_bench.load.checkpointed import CheckpointLog
from pytest_bench.load.exchange import Exchange
from pytest_bench.load.log import PhaseLog
from pytest_bench.load.order import sample_function
from pytest_bench.load.responses import ExchangeResult
from pytest_bench.load.tally import Tally
from pytest_bench.redaction import redact_foreign
from pytest_bench.workload import PhaseSpec, RunSpec, with_query

_LONGEST_DETAIL = 500


class Phase:
    """Encodes the requests of one phase and holds its log and its tally."""

    def __init__(
        self,
        run: RunSpec,
        number: int,
        worker: int,
        bodies: Bodies,
        on_written: Callable[[], None],
        *,
        capped: bool,
    ) -> None:
        """`on_written`: see `CheckpointLog`. `capped`: see `ClientShare`."""
        spec: PhaseSpec = run.phases[number]
        self.tally = Tally(worker, capped=capped)
        self.seq = 0
        facts = {"nonce": run.nonce, "point": run.point, "phase": spec.label}
        self.log: PhaseLog | CheckpointLog
        if run.checkpoint is None:
            self.log = PhaseLog(Path(spec.folder), worker, facts)
        else:
            self.log = CheckpointLog(run.checkpoint, on_written)
            self.log.places = self.tally.places
        self._number = number
        self._bodies = bodies
        self._sample_of = sample_function(spec.samples)
        self._id_prefix = f"{run.nonce[:8]}-{zlib.crc32(f'{run.point}/{spec.label}'.encode()):08x}-"
        self._headers = [_headers(run, endpoint) for endpoint in range(len(run.targets))]
        self._heads = [
            f"POST {target.path} HTTP/1.1\r\n{headers}{self._id_prefix}".encode("latin-1")
            for target, headers in zip(run.targets, self._headers, strict=True)
        ]
        self._targets = run.targets

    def exchange(self, index: int, attempt: int = 1) -> Exchange:
        """The request of this index, not yet sent. `attempt` is part of its id, which is unique."""
        sample = self._sample_of(index)
        endpoint = index % len(self._heads)
        name = str(index) if attempt == 1 else f"{index}.{attempt}"
        return Exchange(
            phase=self._number,
            index=index,
            sample=sample,
            endpoint=endpoint,
            request_id=f"{self._id_prefix}{name}",
            request=b"%b%b\r\n%b" % (self._heads[endpoint], name.encode(), self._bodies[sample]),
            attempt=attempt,
        )

    def write_down(self, result: ExchangeResult, *, paced: bool) -> int:
        """Add the result of a request to the log, where its position is returned, and to the tally.

        `paced`: its time of issue was scheduled (open loop), so that being late is the client's share.
        """
        record = result.record
        if record.error_detail is not None:
            record.error_detail = redact_foreign(record.error_detail)[:_LONGEST_DETAIL]
        self.seq += 1
        position = self.log.append(record, result.text, result.attachment)
        self.tally.ended(record, result.lags_ns, paced=paced)
        return position

    def close(self) -> None:
        """Close the log."""
        self.log.close(self.tally.report if self.tally.closed else None)

    def poll(self, exchange: Exchange, path: str) -> bytes:
        """The request that polls a job. `path` is relative to the endpoint."""
        target = self._targets[exchange.endpoint]
        where = with_query(target.prefix + path, target.query)
        head = f"GET {where} HTTP/1.1\r\n{self._headers[exchange.endpoint]}"
        return f"{head}{exchange.request_id}\r\n\r\n".encode("latin-1")


def _headers(run: RunSpec, endpoint: int) -> str:
    """All headers up to the value of the last, which is the request id."""
    headers = {
        "Host": run.targets[endpoint].host,
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if run.streaming else "*/*",
        "Accept-Encoding": "identity",
        "User-Agent": "pytest-inference-bench",
    } | dict(run.headers)
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "X-Request-Id: "
