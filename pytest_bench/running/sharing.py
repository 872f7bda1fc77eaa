"""Whether the server may have cached a point's prompts, because the plan sends them before."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile

import msgspec

from pytest_bench.endpoints.address import server
from pytest_bench.running.deployment import SIMULATOR
from pytest_bench.running.samples import Share, share_out
from pytest_bench.suite.plan import DatasetPlan, Plan, Point


def shares_beside(plan: Plan, point: Point, rows: int) -> dict[str, Share]:
    """The samples assigned to each point that uses the dataset of `point`, which has `rows` rows."""
    return share_out(
        [other for other in plan.points if _one_dataset(point, other) and _one_server(plan, point, other)],
        rows,
    )


def share_of(plan: Plan, point: Point, rows: int) -> Share:
    """The samples assigned to this point. They are also shared if another dataset has the same rows, or if prompts of
    other rows begin with the same blocks."""
    beside = shares_beside(plan, point, rows)
    mine = beside[point.id]
    before = takewhile(lambda share: share is not mine, beside.values())
    elsewhere = (other for other in plan.points if not _one_dataset(point, other))
    shared = (
        mine.shared
        # A point for which too few rows were left may send any row, including those of this point.
        or any(share.meets(mine.first, mine.first + mine.measured) for share in before)
        or (_of_blocks(plan, point) is not None and len(beside) > 1)
        or any(surely_shares(plan, point, other) for other in elsewhere)
    )
    return msgspec.structs.replace(mine, shared=shared)


def sends_again(plan: Plan, point: Point, share: Share, issued: int) -> bool:
    """Whether some of a point's `issued` measured requests repeat a sample, or blocks that its warm-up sent. A cache
    reset before the point does not help against that."""
    order = None if point.samples is None else point.samples.order
    if issued > (1 if order in {"single", "with_replacement"} else share.measured):
        return True
    blocks = _of_blocks(plan, point)
    return blocks is not None and share.warmup > 0 and share.warmup_first + share.warmup > blocks["ahead"]


def surely_shares(plan: Plan, one: Point, other: Point) -> bool:
    """Whether, according to the plan alone, two points send the same samples to the same server."""
    if one.dataset is None or other.dataset is None or not _one_server(plan, one, other):
        return False
    return _one_dataset(one, other) or _one_source(
        plan.datasets[one.suite][one.dataset], plan.datasets[other.suite][other.dataset]
    )


def _one_server(plan: Plan, one: Point, other: Point) -> bool:
    """Whether two points may send to the same server."""
    if one.deployment_name == other.deployment_name:
        return True
    return not _servers(plan, one).isdisjoint(_servers(plan, other))


def _servers(plan: Plan, point: Point) -> set[str]:
    """Names of the servers of a point. The simulator is left out, because each deployment has its own."""
    return {server(url) for url in plan.deployment_of(point).endpoints if url != SIMULATOR}


def _one_dataset(one: Point, other: Point) -> bool:
    return (one.suite, one.dataset) == (other.suite, other.dataset)


def _one_source(one: DatasetPlan, other: DatasetPlan) -> bool:
    """Whether two datasets have the same file contents, or are generated from the same random numbers."""
    if one.synthetic is not None and other.synthetic is not None:
        return (one.name, one.synthetic["seed"]) == (other.name, other.synthetic["seed"])
    if one.path is None or other.path is None:
        return False
    return one.path == other.path or (one.contents is not None and one.contents == other.contents)


def _of_blocks(plan: Plan, point: Point) -> Mapping[str, int] | None:
    """The synthetic dataset of a point if its prompts begin with blocks that a trace's `hash_ids` name; else None."""
    synthetic = plan.datasets[point.suite][str(point.dataset)].synthetic or {}
    return synthetic if synthetic.get("block_size") is not None else None
