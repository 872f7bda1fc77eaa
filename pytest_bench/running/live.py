"""Counting tokens while load runs, for suites that ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_bench.running.bench import Bench
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.tokens.live import LiveLane, lane_beside


@contextmanager
def live_lane(
    bench: Bench, point: Point, deployment: DeploymentPlan, folder: Path
) -> Iterator[LiveLane | None]:
    """A lane that counts behind the phase whose logs land in `folder`; None where the suite asks for none.

    What it does not reach is counted afterwards. Raises `TokensError` where the tokenizer cannot be loaded.
    """
    workers = deployment.tokens.live_workers
    tokenizer = bench.tokenizer(deployment) if workers else None
    if tokenizer is None:
        yield None
        return
    with lane_beside(
        tokenizer,
        folder,
        workers=workers,
        load_workers=point.workers,
        warmup_timeout_s=deployment.tokens.warmup_timeout_s,
    ) as lane:
        bench.live_lane = lane
        try:
            yield lane
        finally:
            bench.live_lane = None
