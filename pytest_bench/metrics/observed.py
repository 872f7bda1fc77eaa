"""One phase as formulas see it: its columns, its declared settings, and what several formulas derive from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_bench.bounds import Bound
from pytest_bench.metrics.columns import Columns
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.token_counts import ABSENT, Lengths
from pytest_bench.metrics.token_source import Chosen
from pytest_bench.records import PhaseResult
from pytest_bench.workload import Load

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


MOST_BUFFERED = 0.01
"""Upper bound on the share of streams without a time between events; above it, such times are not reported."""


class NotDefined(Exception):
    """The metric is null; the message is the reason."""


@dataclass(frozen=True)
class Observed:
    """One phase and its declared settings."""

    columns: Columns
    phase: PhaseResult
    load: Load
    tokens: Chosen
    no_steady_state: str
    """Why `columns.steady_state` is None."""
    slo: tuple[Bound, ...]
    asked_output_tokens: int | Mapping[int, int] | None
    """Requested output tokens: one number for all requests, or by sample index."""
    video_seconds: float | Mapping[int, float] | None
    """Requested length of videos: one number for all, or by sample index; None for an API without videos."""

    @cached_property
    def succeeded(self) -> NDArray[np.bool_]:
        return self.columns.succeeded

    @cached_property
    def whole(self) -> Window:
        """First issue to last completion."""
        ended = self.columns.succeeded | self.columns.failed
        if not ended.any():
            raise NotDefined("no request ended")
        start, end = int(self.columns.send_start_ns.min()), int(self.columns.end_ns[ended].max())
        if end <= start:
            raise NotDefined("the phase took no time")
        return Window(start_ns=start, end_ns=end)

    @property
    def steady_state(self) -> Window:
        if self.columns.steady_state is None:
            raise NotDefined(self.no_steady_state)
        return self.columns.steady_state

    @cached_property
    def lengths(self) -> Lengths:
        """Token counts of each row from the chosen source. Every succeeded request has them."""
        lengths = self.tokens.lengths
        if lengths is None:
            raise NotDefined(self.tokens.source.reason)
        uncounted = int((self.succeeded & (lengths.output == ABSENT)).sum())
        if uncounted:
            raise NotDefined(f"{uncounted} of {self.succeeded.sum()} succeeded requests have no token count")
        return lengths

    @cached_property
    def buffered(self) -> NDArray[np.bool_]:
        """Succeeded requests whose content events (several) all have one stamp."""
        columns = self.columns
        at_once = columns.first_content_ns == columns.last_content_ns
        return np.asarray(self.succeeded & at_once & (columns.content_events > 1))

    @cached_property
    def buffered_note(self) -> str | None:
        """A note about streams without gaps because all events arrived at once; None if there are none.

        Raises `NotDefined` if they are more than `MOST_BUFFERED` of all streams, because the others then no longer
        represent the phase.
        """
        streams = int((self.succeeded & (self.columns.content_events > 1)).sum())
        buffered = int(self.buffered.sum())
        if not buffered:
            return None
        why = f"in {buffered} of {streams} streams all content events have the same time stamp: they came at once"
        if buffered > MOST_BUFFERED * streams:
            raise NotDefined(f"{why}, as through a proxy that buffers responses")
        return f"{why}; they are left out"

    @cached_property
    def one_token_per_event(self) -> NDArray[np.bool_]:
        """Streams whose content events are all known to hold one token.

        Usage proves it if it counts as many tokens as there were events, or one more for an end-of-sequence token,
        which has no event. Without usage, the tokenizer's count must equal the number of events.
        """
        columns = self.columns
        usage, events = columns.server_output_tokens, columns.content_events
        proven = (usage == events) | (columns.ended_itself & (usage == events + 1))
        if self.tokens.tokenized is not None:
            proven = np.where(usage == ABSENT, self.tokens.tokenized.output == events, proven)
        return np.asarray(proven & (events > 0))

    @property
    def uncounted(self) -> str | None:
        """Why some outputs have no count at all; None if every output has one."""
        if (
            self.tokens.tokenized is not None
            or (self.columns.server_output_tokens[self.succeeded] != ABSENT).all()
        ):
            return None
        return self.tokens.source.reason or "neither a tokenizer nor usage counts every output"


def elapsed(later: Ints, earlier: Ints) -> Floats:
    known = (later != ABSENT) & (earlier != ABSENT)
    return np.where(known, later - earlier, np.nan)


def present(values: Ints) -> Floats:
    return np.where(values != ABSENT, values, np.nan)


def ratio(above: Floats, below: Floats | Ints) -> Floats:
    """Quotient; NaN if `below` is not positive."""
    ratios = np.full(above.size, np.nan)
    np.divide(above, below, out=ratios, where=below > 0)
    return ratios


def require_stream(seen: Observed) -> None:
    if not (seen.columns.first_content_ns[seen.succeeded] != ABSENT).any():
        raise NotDefined("not streamed: no succeeded request delivered content in events")


def require_schedule(seen: Observed) -> None:
    if not (seen.columns.scheduled_ns != ABSENT).any():
        raise NotDefined("closed loop: requests have no scheduled time")


def require_success(seen: Observed) -> None:
    if not seen.succeeded.any():
        raise NotDefined("no request succeeded")
