"""Runs and outputs made by hand, for the pure checks."""

from __future__ import annotations

from pytest_bench.audits import Output, Run

SECOND = 1_000_000_000
DECISIVE_MS = 120
"""Time of a simulated video that the delays of a busy machine do not outweigh: a cache answers ten times faster."""


def run(
    label="reference", *, requested=100, completed=None, failed=None, rate=None, seconds=None, outputs=()
) -> Run:
    """A phase whose completions are evenly spaced, at `rate` or over `seconds`. What is not completed failed."""
    completed = requested if completed is None else completed
    if seconds is None:
        seconds = completed / (rate or 100)
    gap = round(seconds * SECOND / max(completed, 1))
    return Run(
        label=label,
        requested=requested,
        completed=completed,
        failed=requested - completed if failed is None else failed,
        started_ns=0,
        ended_ns=round(seconds * SECOND),
        completions_ns=tuple(gap * (number + 1) for number in range(completed)),
        latencies_ns=(gap,) * completed,
        outputs=tuple(outputs),
    )


def output(sample=0, text="words", token_ids=(5, 6, 7), **more) -> Output:
    return Output(sample=sample, text=text, token_ids=tuple(token_ids), **more)
