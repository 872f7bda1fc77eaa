"""A server in virtual time, and a user who compares two of them as `pytest-bench compare` does.

Requests arrive at random (Poisson) at a server that serves one after the other. The events of its queue follow from
Lindley's recursion (1952): a request waits until the one before it has left. Sessions differ, too: each has a factor of
its own on all service times, and so has each time of day, which both sessions of a pair share.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pytest_bench.metrics.dependent import percentile_interval
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.metrics.shifts import FIRST_STAGE, Recovered, Tails, decide, of_groups, of_pairs

SERVICE_S = 0.05
SHARE = 0.5
"""The metric is the median of the time from arrival to the end of service."""
RESOLUTION = math.log(1.05)
TAILS = Tails.of(1)


class Server(NamedTuple):
    """A server under a load, as a share of what the baseline can serve."""

    load: float = 0.3
    requests: int = 1_000
    """Of one session."""
    factor: float = 1.0
    """On service times."""
    of_session: float = 0.01
    """Standard deviation of the logarithm of a session's own factor."""

    def sessions(self, rng, times_of_day):
        """Latencies of one session for each time of day: an array of shape (sessions, requests)."""
        shape = len(times_of_day), self.requests
        own = self.factor * times_of_day * rng.lognormal(0.0, self.of_session, shape[0])
        services = rng.gamma(16.0, SERVICE_S / 16, shape) * own[:, None]
        gaps = rng.exponential(SERVICE_S / self.load, shape)
        steps = np.zeros(shape)
        np.cumsum(services[:, :-1] - gaps[:, 1:], axis=1, out=steps[:, 1:])
        return steps - np.minimum.accumulate(steps, axis=1) + services


def values(latencies):
    """The metric of each session, as a logarithm."""
    return np.log(np.quantile(latencies, SHARE, axis=1, method="lower")).tolist()


def within(latencies, tail):
    """The interval of the metric within one session, as logarithms. Raises `NotDefined`."""
    low, high = percentile_interval(latencies[0], SHARE, 1 - 2 * tail)
    return math.log(low), math.log(high)


def compare_at_once(rng, baseline, candidate, resolution):
    """Compare one session of each; the answer, or `undefined`."""
    sessions = [server.sessions(rng, np.ones(1)) for server in (baseline, candidate)]
    try:
        return _of_single(sessions, resolution).answer
    except NotDefined:
        return "undefined"


def _of_single(sessions, resolution=RESOLUTION):
    old, new = (values(latencies)[0] for latencies in sessions)

    def intervals(tail):
        return within(sessions[0], tail), within(sessions[1], tail)

    return decide(Recovered(new - old, old, new, intervals), 0.0, resolution, TAILS)


def compare_until_decided(rng, baseline, candidate, *, in_pairs=True, drift=0.05):
    """Compare one session each, then do what the answer asks for: repeat, and compare all sessions again.

    Returns the answer and the number of sessions of each server.
    """
    day = rng.lognormal(0.0, drift, 1)
    first = [server.sessions(rng, day) for server in (baseline, candidate)]
    try:
        decision = _of_single(first)
        wanted = decision.needed
        if decision.answer != "cannot tell":
            return decision.answer, 1
    except NotDefined:
        wanted = FIRST_STAGE
    old, new = (values(latencies) for latencies in first)
    while len(old) < wanted:
        days = rng.lognormal(0.0, drift, wanted - len(old))
        old += values(baseline.sessions(rng, days))
        new += values(candidate.sessions(rng, days))
        decision = decide((of_pairs if in_pairs else of_groups)(old, new), 0.0, RESOLUTION, TAILS)
        if decision.answer != "cannot tell":
            break
        wanted = decision.needed
    return decision.answer, len(old)
