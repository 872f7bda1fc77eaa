"""Assigns rows of a dataset to points, so that no point sends prompts that the server has cached for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.suite.plan import Point


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of one point: `measured` rows from `first`, and `warmup` others from `warmup_first`.

    With `order: single`, the measured phase has every row and uses one, which the warm-up leaves out.
    """

    first: int
    measured: int
    warmup_first: int
    warmup: int
    shared: bool
    """Whether other points use some of these rows, so that the server may answer from its cache."""

    def meets(self, begin: int, end: int) -> bool:
        """Whether the rows from `begin` to before `end` overlap these, including those of the warm-up."""
        parts = ((self.first, self.measured), (self.warmup_first, self.warmup))
        return any(max(begin, first) < min(end, first + count) for first, count in parts)


def share_out(points: Sequence[Point], rows: int) -> dict[str, Share]:
    """Assign rows to each of `points`, which all use one dataset of `rows` rows on one deployment. Pure.

    `points` are those of the whole plan, so that a point uses the same rows if it runs alone. Points whose number of
    requests is unknown divide evenly what the others leave. A point for which too few rows are left may use all of
    them, and is marked as shared. A warm-up with samples of its own has at least one if the dataset has two rows.
    """
    needs = {point.id: _need(point, rows) for point in points}
    known = sum(count for need in needs.values() for count in need if count is not None)
    open_ended = sum(1 for need in needs.values() if None in need)
    spare = max(0, rows - known) // open_ended if open_ended else 0
    others = len(points) > 1
    shares: dict[str, Share] = {}
    at = 0
    for point in points:
        warmup, measured = needs[point.id]
        timed = max(1, (spare or rows) // 5) if warmup is None else 0
        warmup = timed if warmup is None else warmup
        measured = spare - timed if measured is None else measured
        index = _single(point)
        if index is not None and warmup:
            warmup_first, warmup = _beside(index, warmup, rows)
            shares[point.id] = Share(
                first=0, measured=rows, warmup_first=warmup_first, warmup=warmup, shared=others
            )
        elif measured > 0 and at + warmup + measured <= rows:
            shares[point.id] = Share(
                first=at + warmup, measured=measured, warmup_first=at, warmup=warmup, shared=False
            )
            at += warmup + measured
        else:
            warmup = min(warmup, rows // 2)
            shares[point.id] = Share(
                first=warmup, measured=rows - warmup, warmup_first=0, warmup=warmup, shared=others
            )
    return shares


def salted(row: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """A copy of `row` whose prompt begins with `salt`, so that no server has cached it.

    Raises `UsageError` for a row whose prompt is given as token ids, which cannot be salted.
    """
    for column in ("prompt", "text"):
        if isinstance(row.get(column), str):
            return {**row, column: f"{salt} {row[column]}"}
    messages = row.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[0].get("content"), str):
        first = messages[0] | {"content": f"{salt} {messages[0]['content']}"}
        return {**row, "messages": [first, *messages[1:]]}
    raise UsageError(
        "a prompt that is not text cannot be salted: declare the warm-up with `samples: own` instead"
    )


def _single(point: Point) -> int | None:
    """The row of a measured phase with `order: single`; None for other orders."""
    return point.samples.index if point.samples is not None and point.samples.order == "single" else None


def _beside(index: int, wanted: int, rows: int) -> tuple[int, int]:
    """First row and number of rows of a warm-up: up to `wanted` on the longer side of row `index`."""
    before, after = min(index, rows), max(0, rows - index - 1)
    return (0, min(wanted, before)) if before > after else (index + 1, min(wanted, after))


def _need(point: Point, rows: int) -> tuple[int | None, int | None]:
    """Number of rows for the warm-up and for measuring; None if the number of requests is unknown."""
    warmup: int | None = 0
    if point.warmup is not None and point.warmup.samples == "own":
        warmup = point.warmup.load.most_requests
    if _single(point) is not None:
        return warmup, rows
    measured = None if point.load is None else point.load.most_requests
    return warmup, measured if measured is None else min(measured, rows)
