"""Comparison of the rates of two phases: what MLPerf's TEST01 and TEST04 have in common."""

from __future__ import annotations

from fractions import Fraction

from pytest_bench.audits.contract import FailedRequests, Run
from pytest_bench.audits.shared import SampledFields
from pytest_bench.labels import Label
from pytest_bench.suite.section import Share
from pytest_bench.workload import Load

PATTERNS = frozenset({"burst", "concurrency"})
"""Loads whose rate follows the speed of the server. A paced load issues no sooner because answers come sooner."""


class RateFields(SampledFields):
    """Fields of an audit that compares rates."""

    threshold: Share | None = None
    """Tolerance of the comparison, as a share. Default: MLPerf's, which is 0.10."""
    tolerate_failures: bool = False
    """Judge the phases even if requests failed. By default, a failed request in a phase whose rate is compared is
    an error. With `true`, the rate is that of the requests that succeeded, over the time that all of them took, and
    at least `1 - threshold` of each phase must succeed; the point is labelled `failures-tolerated`."""


def is_single_stream(load: Load) -> bool:
    """Whether one request is in flight at a time: MLPerf's SingleStream scenario."""
    return load.pattern == "concurrency" and load.concurrency == 1


def needed(run: Run, threshold: float) -> Fraction:
    """The number of requests that must succeed, in exact arithmetic: 123 for 0.18 of 150.

    mlcommons/endpoints computes `requested * (1.0 - threshold)` in floating point, which is 123.00000000000001.
    """
    return run.requested * (1 - Fraction(repr(threshold)))


def enough(run: Run, threshold: float) -> bool:
    """Whether at least `1 - threshold` of the requested requests succeeded."""
    return run.completed >= needed(run, threshold)


def shortfall(run: Run, threshold: float) -> str:
    """A sentence for a phase in which too few requests succeeded."""
    return (
        f"Phase {run.label!r}: {run.completed} of {run.requested} requests succeeded, and at least "
        f"{float(needed(run, threshold)):g} must. Next: look into the failures in phases/{run.label}."
    )


def failure_labels(*runs: Run, tolerated: bool) -> tuple[str, ...]:
    """The labels of an audit that compares the rates of these phases.

    Raises `FailedRequests` if a request failed and failures are not tolerated: its time would enter the rate of the
    others, and a slow failure could hide a cache.
    """
    failed = [run for run in runs if run.failed]
    if not failed:
        return ()
    if tolerated:
        return (Label.FAILURES_TOLERATED,)
    counts = ", ".join(f"{run.failed} of {run.requested} in phase {run.label!r}" for run in failed)
    folders = ", ".join(f"phases/{run.label}" for run in failed)
    raise FailedRequests(
        f"requests failed: {counts}. Rates of phases with failed requests are not comparable. "
        f"Next: look into the failures in {folders}, make the requests succeed and audit again; or declare "
        "`tolerate_failures: true` on the audit to judge by MLPerf's arithmetic, which counts the successes over "
        "the time that all requests took"
    )
