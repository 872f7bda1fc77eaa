"""Counts tokens while load runs, if the suite asks for it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.tokens.live import LiveLane, lane_beside
from pytest_bench.tokens.tokenizer import Tokenizer


def live_lane(
    tokenizer: Tokenizer | None, deployment: DeploymentPlan, point: Point, folder: Path
) -> AbstractContextManager[LiveLane | None]:
    """Count the outputs of the phase that logs into `folder` while it runs; None if the suite does not ask for it.

    Outputs that are not counted when the phase ends are counted afterwards.
    """
    workers = deployment.tokens.live_workers
    if tokenizer is None or not workers:
        return nullcontext()
    return lane_beside(
        tokenizer,
        folder,
        workers=workers,
        load_workers=point.workers,
        warmup_timeout_s=deployment.tokens.warmup_timeout_s,
    )
