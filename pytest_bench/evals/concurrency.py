"""Whether an eval ran at the concurrency that was asked for."""

from __future__ import annotations

import msgspec

ENOUGH = 4
"""Requests per place in flight from which the time-weighted concurrency is judged, too."""


class ConcurrencyProof(msgspec.Struct, frozen=True, kw_only=True):
    """The observed concurrency, judged. `problem` is None if it is proven."""

    asked: int
    peak: int
    """Most requests in flight at one time in the session. A request that waits to be sent again counts."""
    achieved: float | None
    """Mean requests in flight, weighted by time from the end of the ramp to the last issue; None without it."""
    least: float
    """What `achieved` must be at least: all but the budget's `vacancy` of what was asked."""
    short: bool
    """Too few requests to judge more than the peak: a label of the point."""
    problem: str | None


def prove_concurrency(
    asked: int, requests: int, peak: int, achieved: float | None, *, vacancy: float
) -> ConcurrencyProof:
    """Judge the first session of a point that asks for `requests` requests, items times repeats.

    `vacancy` is the largest share of the concurrency that may be missing. A resumed session has fewer requests left
    than it may have places, and proves nothing.
    """
    short, least = requests < ENOUGH * asked, (1 - vacancy) * asked
    problem: str | None = None
    if peak != asked:
        problem = f"at most {peak} requests were in flight; {asked} were asked for"
    elif not short and (achieved is None or achieved < least):
        found = "unknown" if achieved is None else f"{achieved:.2f}"
        problem = (
            f"the mean concurrency was {found}; expected at least {least:.2f} ({1 - vacancy:g} of {asked}): the client "
            "had not sent the next requests yet. Give it a machine, or cores, that nothing else uses, and a faster "
            "disk for the checkpoint, or allow more with `budget: {vacancy: …}`, which labels the point"
        )
    return ConcurrencyProof(
        asked=asked, peak=peak, achieved=achieved, least=least, short=short, problem=problem
    )
