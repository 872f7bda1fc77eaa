"""Gaps between the events of streams, pooled over a phase, and the limits within which each true gap lies.

Two events that one read returned share a stamp, so the gap between them is 0 by their stamps, and was anything up to
the uncertainty of the first. Most streams have exact stamps only; their gaps need no limits and are kept apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import add
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_bench.errors import EvidenceError
from pytest_bench.metrics.spool import CHUNK, Spool
from pytest_bench.records import Moments, RequestRecord

Ints = NDArray[np.int64]

End = Literal["value", "low", "high"]
"""Which value of a gap: by the stamps, or its lower or upper limit."""

_EXACT = Moments()


class Gaps:
    """Gaps in nanoseconds, or numbers that belong to gaps. Those of one stream are added together."""

    def __init__(self, scratch: Path | None = None) -> None:
        """`scratch`: folder for the temporary files of very many gaps."""
        self.exact = Spool(folder=scratch)
        self._limited = {end: Spool(folder=scratch, memory=2 * CHUNK) for end in ("value", "low", "high")}

    @property
    def certain(self) -> bool:
        """Whether no gap has limits."""
        return not self._limited["value"].count

    def add(self, values: Sequence[int], limits: tuple[Sequence[int], Sequence[int]] | None) -> None:
        """Add the gaps of a stream. `limits`: the lower and upper limit of each; None if all are exact."""
        if limits is None:
            self.exact.extend(values)
        else:
            for end, ends in zip(("value", "low", "high"), (values, *limits), strict=True):
                self._limited[end].extend(ends)

    def limited(self, end: End) -> Spool:
        """The gaps that have limits."""
        return self._limited[end]

    def chunks(self, end: End = "value") -> Iterator[Ints]:
        """All gaps in bounded chunks, in the same order for every `end`."""
        yield from self.exact.chunks()
        yield from self._limited[end].chunks()


def limits_of(record: RequestRecord) -> tuple[list[int], list[int]] | None:
    """Lower and upper limits of `record.content_gaps_ns`; None if all stamps are exact.

    An event may have arrived earlier than its stamp by its uncertainty. So a gap is shorter by up to the uncertainty of
    its second event, but never negative, or longer by up to that of its first event. Raises `EvidenceError` if the
    record does not have an uncertainty for every event.
    """
    gaps, inner, ends = record.content_gaps_ns, record.inner_uncertainty_ns, record.uncertainty_ns or _EXACT
    if not (inner or ends.first_content or ends.last_content):
        return None
    widths = (ends.first_content, *(inner or (0,) * (len(gaps) - 1)), ends.last_content)
    if len(widths) != len(gaps) + 1:
        raise EvidenceError(
            f"request log: request {record.request_id!r} has {len(gaps)} gaps between content events, but "
            f"{len(inner)} inner uncertainties; expected one fewer than gaps: the log is damaged"
        )
    lows = [max(0, gap - width) for gap, width in zip(gaps, widths[1:], strict=True)]
    return lows, list(map(add, gaps, widths))
