"""A call that shows what would run: it is refused as a run would be, and shows the bounds of points with -v."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from pytest_bench.catalogue import Requirements
from pytest_bench.errors import BenchError
from pytest_bench.plugin.items import judged_points
from pytest_bench.plugin.session import Session
from pytest_bench.suite.plan import Point
from pytest_bench.verdict.judge import implied_bounds


class Collecting:
    """Registered for --collect-only and --setup-plan."""

    def __init__(self, session: Session, requires: Requirements) -> None:
        self._session = session
        self._requires = requires

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Check everything that the selected points need, except their servers. Raises `pytest.UsageError`."""
        try:
            self._requires.check({point.id for point in judged_points(session.items)}, offline=True)
        except BenchError as error:
            raise pytest.UsageError(str(error)) from error

    def pytest_report_collectionfinish(
        self, config: pytest.Config, items: Sequence[pytest.Item]
    ) -> list[str]:
        if config.get_verbosity() < 1:
            return []
        return [line for point in judged_points(items) for line in _described(point)]


def _described(point: Point) -> Iterator[str]:
    """The id of a point and its limits."""
    yield point.id
    for bound in point.bounds:
        yield f"  bound: {bound.metric} {bound.text}"
    for limit in point.slo:
        yield f"  slo: {limit.metric} {limit.text}"
    if point.kind == "perf":
        implied = ", ".join(f"{bound.metric} {bound.text}" for bound in implied_bounds(point.bounds))
        yield f"  implied: {implied or 'nothing'}" + (
            "" if point.bounds else " (unbounded: declares no bounds)"
        )
