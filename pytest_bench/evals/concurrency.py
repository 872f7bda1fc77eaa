"""Whether an eval ran at the concurrency that was asked for."""

from __future__ import annotations

import msgspec

ENOUGH = 4
"""Requests per place in flight from which the time-weighted concurrency is judged, too."""
SHARE = 0.98


class ConcurrencyProof(msgspec.Struct, frozen=True, kw_only=True):
    """The observed concurrency, judged. `problem` is None if it is proven."""

    asked: int
    peak: int
    """Most requests in flight during the first session. A request that waits to be retried counts."""
    achieved: float | None
    """Mean requests in flight, weighted by time from the end of the ramp to the last issue; None without it."""
    short: bool
    """Too few requests to judge more than the peak: a label of the point."""
    problem: str | None


def prove_concurrency(asked: int, requests: int, peak: int, achieved: float | None) -> ConcurrencyProof:
    """Judge the first session of a point that asks for `requests` requests, items times repeats.

    A resumed session has fewer requests left than it may have places, and proves nothing.
    """
    short = requests < ENOUGH * asked
    problem: str | None = None
    if peak != asked:
        problem = f"at most {peak} requests were in flight; {asked} were asked for"
    elif not short and (achieved is None or achieved < SHARE * asked):
        found = "unknown" if achieved is None else f"{achieved:.2f}"
        problem = (
            f"the mean concurrency was {found}; expected at least {SHARE * asked:.2f} ({SHARE:g} of {asked})"
        )
    return ConcurrencyProof(asked=asked, peak=peak, achieved=achieved, short=short, problem=problem)
