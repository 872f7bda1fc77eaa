"""Which labels a point has, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytest_bench.labels import Label
from pytest_bench.records import PhaseResult
from pytest_bench.suite.plan import Point


def labels_of(
    point: Point,
    phases: Sequence[PhaseResult],
    *,
    simulated: bool,
    simulator_bound: bool,
    cache_shared: bool,
    too_short: bool,
    specific: Iterable[str] = (),
) -> Iterator[str]:
    """The labels of a point. `phases` are those that were measured.

    `simulated`: measured on the simulator; `simulator_bound`: which was the bottleneck; `cache_shared`: its prompts
    may have been sent before; `too_short`: shorter than its minimum duration. `specific` labels are those that only
    points of its kind have.
    """
    if simulated:
        yield Label.SIMULATOR
    if simulator_bound:
        yield Label.SIMULATOR_BOUND
    if point.budget.relaxed:
        yield Label.BUDGET_RELAXED
    if any(phase.health.user_stamped_reads for phase in phases):
        yield Label.USER_STAMPED
    if cache_shared:
        yield Label.CACHE_SHARED
    yield from specific
    yield from point.labels
    if point.unofficial or too_short:
        yield Label.UNOFFICIAL
