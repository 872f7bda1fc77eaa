"""The records of a phase as columns of numbers: what every metric is computed from."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.spool import Spool
from pytest_bench.metrics.token_counts import ABSENT, request_key
from pytest_bench.records import RequestRecord, Usage

Ints = NDArray[np.int64]

_SUCCEEDED, _FAILED, _RESENT, _EMPTY = 1, 2, 4, 8
_ROW = 17
_NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class Columns:
    """One row a request, integers, `ABSENT` where a record holds None. No text, no list of gaps.

    144 bytes a request; gaps between events are in a `Spool`. The first fields stand in the order of `_row`.
    """

    key: Ints
    """`request_key` of the request id."""
    index: Ints
    """Position in the phase's order of issue."""
    sample_index: Ints
    scheduled_ns: Ints
    send_start_ns: Ints
    connect_ns: Ints
    first_content_ns: Ints
    first_output_ns: Ints
    last_content_ns: Ints
    end_ns: Ints
    content_events: Ints
    server_input_tokens: Ints
    server_output_tokens: Ints
    server_cached_tokens: Ints
    server_time_ns: Ints
    endpoint: Ints
    """Position of its endpoint in the deployment."""
    flags: Ints
    steady_share: NDArray[np.float64]
    """Of each request's output, the share that arrived within `steady_state` (`share_within`)."""
    steady_state: Window | None
    """The window that `steady_share` speaks of."""
    gaps: Spool
    """Between successive content events of succeeded requests, pooled."""
    token_gaps: Spool | None
    """Between tokens, where the server told the tokens of every event of every success."""
    failures: Counter[str]
    """Failed requests by type."""

    def __len__(self) -> int:
        return self.key.size

    def _flag(self, flag: int) -> NDArray[np.bool_]:
        return (self.flags & flag).astype(np.bool_)

    @property
    def succeeded(self) -> NDArray[np.bool_]:
        return self._flag(_SUCCEEDED)

    @property
    def failed(self) -> NDArray[np.bool_]:
        return self._flag(_FAILED)

    @property
    def resent(self) -> NDArray[np.bool_]:
        return self._flag(_RESENT)

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Ended without any output."""
        return self._flag(_EMPTY)


def read_columns(
    records: Iterable[RequestRecord], *, steady_state: Window | None = None, scratch: Path | None = None
) -> Columns:
    """Read all records of a phase once, in any order.

    `steady_state` is the window that steady-state metrics look at (`measure.steady_state_of`); `scratch` is
    the folder for the spool's temporary file. Raises `EvidenceError` for two records of one request, and
    `OSError` where the spool cannot be written.
    """
    rows, shares = array("q"), array("d")
    gaps, token_gaps = Spool(folder=scratch), Spool(folder=scratch)
    tokens_known = True
    failures: Counter[str] = Counter()
    for record in records:
        rows.extend(_row(record))
        shares.append(share_within(record, steady_state) if steady_state else 0.0)
        if record.outcome == "failed":
            failures[record.error or "unknown"] += 1
        elif record.outcome == "succeeded" and record.content_gaps_ns:
            gaps.extend(record.content_gaps_ns)
            tokens_known = tokens_known and len(record.content_event_tokens) == record.content_event_count
            if tokens_known:
                token_gaps.extend(gaps_between_tokens(record.content_gaps_ns, record.content_event_tokens))
    table = np.frombuffer(rows, dtype=np.int64).reshape(-1, _ROW)
    keys = np.sort(table[:, 0])
    if (keys[1:] == keys[:-1]).any():
        raise EvidenceError(
            "request log: two records carry the same request id; expected one record a request: "
            "the log holds more than one phase, or is damaged"
        )
    names = [field.name for field in fields(Columns) if field.type == "Ints"]
    return Columns(
        **dict(zip(names, table.T, strict=True)),
        steady_share=np.frombuffer(shares, dtype=np.float64),
        steady_state=steady_state,
        gaps=gaps,
        token_gaps=token_gaps if tokens_known and token_gaps.count else None,
        failures=failures,
    )


def _row(record: RequestRecord) -> tuple[int, ...]:
    usage = record.usage or _NO_USAGE
    flags = (
        (record.outcome == "succeeded") * _SUCCEEDED
        | (record.outcome == "failed") * _FAILED
        | record.resent * _RESENT
        | record.output_empty * _EMPTY
    )
    return (
        request_key(record.request_id),
        record.index,
        record.sample_index,
        _number(record.scheduled_ns),
        record.send_start_ns,
        _number(record.connect_ns),
        _number(record.first_content_ns),
        _number(record.first_output_ns),
        _number(record.last_content_ns),
        record.end_ns,
        record.content_event_count,
        _number(usage.input_tokens),
        _number(usage.output_tokens),
        _number(usage.cached_tokens),
        ABSENT if record.server_time_s is None else round(record.server_time_s * 1e9),
        record.endpoint,
        flags,
    )


def _number(value: int | None) -> int:
    return ABSENT if value is None else value


def share_within(record: RequestRecord, window: Window) -> float:
    """Of a request's output, the share that arrived within (start, end] of `window`.

    Each content event stands at its stamp, and counts by its tokens where the server tells them for every
    event, else like every other. A response that is not streamed stands at its end.
    """
    first, last = record.first_content_ns, record.last_content_ns
    if last is None or last <= window.start_ns:
        return 0.0
    if first is None:
        first = last
    if first > window.end_ns:
        return 0.0
    if first > window.start_ns and last <= window.end_ns:
        return 1.0
    stamps = first + np.concatenate(([0], np.cumsum(record.content_gaps_ns, dtype=np.int64)))
    inside = (stamps > window.start_ns) & (stamps <= window.end_ns)
    tokens = np.array(record.content_event_tokens, dtype=np.int64)
    if tokens.size == stamps.size and tokens.any():
        return float(tokens[inside].sum() / tokens.sum())
    return float(inside.mean())


def gaps_between_tokens(gaps_ns: tuple[int, ...], tokens: tuple[int, ...]) -> list[int]:
    """Gaps between the tokens of one stream, of which `tokens[i]` arrived in event i.

    The tokens of an event share the gap before it: k of them count k times a k-th of it, rounded down. An
    event without tokens lengthens the gap of the next. Tokens of the first event have no gap before them.
    """
    between: list[int] = []
    waited: int | None = None
    for position, count in enumerate(tokens):
        if waited is not None:
            waited += gaps_ns[position - 1]
        if count:
            if waited is not None:
                between.extend([waited // count] * count)
            waited = 0
    return between
