"""Counting tokens while load runs, for suites that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_bench.running.bench import Bench
from pytest_bench.suite.plan import DeploymentPlan
from pytest_bench.tokens.live import LiveLane
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import resolve


@contextmanager
def live_lane(bench: Bench, deployment: DeploymentPlan, folder: Path) -> Iterator[LiveLane | None]:
    """A lane that counts behind the phase whose logs land in `folder`; None where the suite asks for none.

    It runs on processes of its own at the lowest priority. What it does not reach is counted afterwards.
    """
    tokens = deployment.tokens
    if tokens.live_workers == 0 or tokens.tokenizer is None:
        yield None
        return
    with TokenizerPool(workers=tokens.live_workers, idle=True) as pool:
        tokenizer = pool.load(
            resolve(tokens.tokenizer), backend=tokens.backend, warmup_timeout_s=tokens.warmup_timeout_s
        )
        with LiveLane(tokenizer, folder) as lane:
            bench.live_lane = lane
            try:
                yield lane
            finally:
                bench.live_lane = None
