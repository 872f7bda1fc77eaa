"""The samples of a session's evals, or of a folder that lm-eval wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.evals.checkpoint_samples import eval_of, read_checkpoint_samples
from pytest_bench.evals.sample_files import read_result_samples, read_sample_file
from pytest_bench.evals.samples import Sample
from pytest_bench.results import layout
from pytest_bench.results.layout import CHECKPOINT
from pytest_bench.results.plan_file import read_plan
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.plan import Point
from pytest_bench.suite.table_evals import has_tables


def read_samples_of(results: Path, scorings: Scorings = SCORINGS) -> Iterator[Sample]:
    """Every sample of a session, of a folder in lm-eval's layout, or of one `samples_*.jsonl`.

    Raises `UsageError` if it is none of these, and `EvidenceError` for files that cannot be read.
    """
    if results.is_file():
        yield from read_sample_file(results)
    elif (results / layout.PLAN).exists():
        for point in eval_points(results):
            yield from read_point(results, point, scorings)
    elif results.is_dir():
        yield from read_result_samples(results)
    else:
        raise UsageError(f"{results}: does not exist; expected a results folder, or a file samples_*.jsonl")


def eval_points(results: Path) -> list[Point]:
    """The evals of a session. Raises `UsageError` if it has none."""
    points = [point for point in read_plan(results).plan.points if point.kind == "eval"]
    if not points:
        raise UsageError(f"{results}: its plan has no eval; samples are the answers of evals")
    return points


def read_point(results: Path, point: Point, scorings: Scorings = SCORINGS) -> Iterator[Sample]:
    """Every sample of one eval of a session; none if it was not begun, or has tables."""
    folder = results / layout.point_path(point.id)
    if has_tables(point):
        return
    if is_command(point):
        concurrency = None if point.load is None else point.load.concurrency
        for sample in read_result_samples(folder / layout.HARNESS):
            yield msgspec.structs.replace(
                sample, source=point.id, eval=eval_of(point), concurrency=concurrency
            )
    elif (folder / CHECKPOINT).exists():
        yield from read_checkpoint_samples(point, folder, scorings)
