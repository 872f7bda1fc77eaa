"""The records of a phase as columns of numbers, from which every metric is computed."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.gaps import End, Gaps, limits_of
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.token_counts import ABSENT, request_key
from pytest_bench.records import Moments, RequestRecord, Usage

Ints = NDArray[np.int64]

_SUCCEEDED, _FAILED, _RESENT, _EMPTY, _ENDED_ITSELF, _LIMITED = 1, 2, 4, 8, 16, 32
_ROW = 23
_NO_USAGE = Usage()
_EXACT = Moments()


@dataclass(frozen=True, slots=True)
class Columns:
    """One row of integers per request, `ABSENT` for None. No text and no list of gaps.

    192 bytes per request; gaps between events are in a `Spool`. The first fields are in the order of `_row`.
    """

    key: Ints
    """`request_key` of the request id."""
    index: Ints
    """Position in the phase's order of issue."""
    sample_index: Ints
    scheduled_ns: Ints
    due_ns: Ints
    """Open loop: from when on the client was late: the scheduled time, or when the place that the request waited for
    became free."""
    send_start_ns: Ints
    connect_ns: Ints
    first_content_ns: Ints
    first_output_ns: Ints
    last_content_ns: Ints
    end_ns: Ints
    content_events: Ints
    first_event_tokens: Ints
    """Tokens of the first content event, if the server reports usage with every chunk."""
    gap_count: Ints
    """Number of values in `gaps` that belong to this request. Both parts of `gaps` are in the order of the rows."""
    server_input_tokens: Ints
    server_output_tokens: Ints
    server_cached_tokens: Ints
    server_time_ns: Ints
    first_content_uncertainty_ns: Ints
    """How much earlier the first content may have arrived. The next two are analogous."""
    first_output_uncertainty_ns: Ints
    last_content_uncertainty_ns: Ints
    endpoint: Ints
    """Position of its endpoint in the deployment."""
    flags: Ints
    steady_share: NDArray[np.float64]
    """Share of each request's output that arrived within `steady_state` (`share_within`)."""
    steady_state: Window | None
    """The window of `steady_share`."""
    gaps: Gaps
    """Gaps between successive content events of succeeded requests, except those whose events all have one stamp."""
    token_gaps: Gaps
    """Gaps between tokens of the same requests, if the server reports the tokens of every event."""
    token_gap_times: Gaps
    """Weight of each value of `token_gaps`."""
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
        """Whether the request ended without any output."""
        return self._flag(_EMPTY)

    @property
    def ended_itself(self) -> NDArray[np.bool_]:
        """Finish reason `stop`: the server's usage may include an end-of-sequence token that is not in the text."""
        return self._flag(_ENDED_ITSELF)

    @property
    def limited(self) -> NDArray[np.bool_]:
        """Whether the request's gaps have limits, because some stamp of its content is not exact."""
        return self._flag(_LIMITED)


def read_columns(
    records: Iterable[RequestRecord], *, steady_state: Window | None = None, scratch: Path | None = None
) -> Columns:
    """Read all records of a phase once, in any order.

    `steady_state` is the window of steady-state metrics (`measure.steady_state_of`); `scratch` is the folder for the
    spool's temporary file. Raises `EvidenceError` for two records of one request, and `OSError` if the spool cannot be
    written.
    """
    rows, shares = array("q"), array("d")
    gaps, token_gaps, token_gap_times = (Gaps(scratch) for _ in range(3))
    failures: Counter[str] = Counter()
    for record in records:
        pooled = _gap_count(record)
        limits = limits_of(record) if pooled else None
        rows.extend(_row(record, pooled, limited=limits is not None))
        shares.append(share_within(record, steady_state) if steady_state else 0.0)
        if record.outcome == "failed":
            failures[record.error or "unknown"] += 1
        elif pooled:
            gaps.add(record.content_gaps_ns, limits)
            if len(record.content_event_tokens) == record.content_event_count:
                tokens = record.content_event_tokens
                between, times = gaps_between_tokens(record.content_gaps_ns, tokens)
                low, high = (gaps_between_tokens(ends, tokens)[0] for ends in limits) if limits else ([], [])
                token_gaps.add(between, (low, high) if limits else None)
                token_gap_times.add(times, (times, times) if limits else None)
    table = np.frombuffer(rows, dtype=np.int64).reshape(-1, _ROW)
    keys = np.sort(table[:, 0])
    if (keys[1:] == keys[:-1]).any():
        raise EvidenceError(
            "request log: two records have the same request id; expected one record per request: "
            "the log holds more than one phase, or is damaged"
        )
    names = [field.name for field in fields(Columns) if field.type == "Ints"]
    return Columns(
        **dict(zip(names, table.T, strict=True)),
        steady_share=np.frombuffer(shares, dtype=np.float64),
        steady_state=steady_state,
        gaps=gaps,
        token_gaps=token_gaps,
        token_gap_times=token_gap_times,
        failures=failures,
    )


def _row(record: RequestRecord, gap_count: int, *, limited: bool) -> tuple[int, ...]:
    usage = record.usage or _NO_USAGE
    uncertainty = record.uncertainty_ns or _EXACT
    flags = (
        (record.outcome == "succeeded") * _SUCCEEDED
        | (record.outcome == "failed") * _FAILED
        | record.resent * _RESENT
        | record.output_empty * _EMPTY
        | (record.finish_reason == "stop") * _ENDED_ITSELF
        | limited * _LIMITED
    )
    events = record.content_event_tokens
    return (
        request_key(record.request_id),
        record.index,
        record.sample_index,
        _number(record.scheduled_ns),
        _number(record.scheduled_ns if record.place_free_ns is None else record.place_free_ns),
        record.send_start_ns,
        _number(record.connect_ns),
        _number(record.first_content_ns),
        _number(record.first_output_ns),
        _number(record.last_content_ns),
        record.end_ns,
        record.content_event_count,
        events[0] if events and len(events) == record.content_event_count else ABSENT,
        gap_count,
        _number(usage.input_tokens),
        _number(usage.output_tokens),
        _number(usage.cached_tokens),
        ABSENT if record.server_time_s is None else round(record.server_time_s * 1e9),
        uncertainty.first_content,
        uncertainty.first_output,
        uncertainty.last_content,
        record.endpoint,
        flags,
    )


def _gap_count(record: RequestRecord) -> int:
    """Number of gaps that count: none of a failed request or of a stream that arrived at once."""
    counts = record.outcome == "succeeded" and any(record.content_gaps_ns)
    return len(record.content_gaps_ns) if counts else 0


def _number(value: int | None) -> int:
    return ABSENT if value is None else value


def gaps_of(columns: Columns, chosen: NDArray[np.bool_], end: End = "value") -> Iterator[Ints]:
    """The values of `columns.gaps` that belong to the `chosen` rows, in bounded chunks."""
    limited = columns.limited
    for spool, rows in ((columns.gaps.exact, ~limited), (columns.gaps.limited(end), limited)):
        ends = np.cumsum(np.where(rows, columns.gap_count, 0))
        start = 0
        for chunk in spool.chunks():
            row = np.searchsorted(ends, np.arange(start, start + chunk.size), side="right")
            yield chunk[chosen[row]]
            start += chunk.size


def share_within(record: RequestRecord, window: Window) -> float:
    """Share of a request's output that arrived within (start, end] of `window`.

    Each content event counts at its stamp, weighted by its tokens if the server reports them for every event, otherwise
    equally. A response that is not streamed counts at its end.
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


def gaps_between_tokens(gaps_ns: Sequence[int], tokens: Sequence[int]) -> tuple[list[int], list[int]]:
    """Gaps between the tokens of one stream, of which `tokens[i]` arrived in event i, and how often each counts.

    The k tokens of an event share the gap before it: a k-th of it, rounded down, counts k times. An event without
    tokens lengthens the gap of the next. Tokens of the first event have no gap before them. Weights are returned
    instead of repeated values, because a server may report any count.
    """
    between: list[int] = []
    times: list[int] = []
    waited: int | None = None
    for position, count in enumerate(tokens):
        if waited is not None:
            waited += gaps_ns[position - 1]
        if count:
            if waited is not None:
                between.append(waited // count)
                times.append(count)
            waited = 0
    return between, times
