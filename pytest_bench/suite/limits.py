"""Parse the bounds that a suite declares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_bench.bounds import Bound, parse_bound
from pytest_bench.errors import UsageError
from pytest_bench.suite.checking import dotted
from pytest_bench.suite.context import Context
from pytest_bench.suite.document import Path
from pytest_bench.suite.schema import BoundsSection, LimitSection, LimitsSection
from pytest_bench.suite.vocabulary import BoundKind

NamedBounds = Mapping[str, LimitsSection | None]


def check_named(context: Context, sections: Mapping[str, Any]) -> NamedBounds:
    """The sets of `named_bounds`; None for a set with problems. Metrics are checked where a set is used."""
    return {
        name: context.check(LimitsSection, ("named_bounds", name), value) for name, value in sections.items()
    }


def check_metrics(context: Context, path: Path, metrics: Iterable[str], kind: BoundKind) -> None:
    """Record the `metrics` at `path` that do not exist."""
    for metric in metrics:
        _unit(context, (*path, metric), metric, kind)


def plan_limits(context: Context, path: Path, section: LimitsSection, kind: BoundKind) -> tuple[Bound, ...]:
    """The limits at `path` on metrics of `kind`."""
    bounds = (
        _bound(context, (*path, metric), metric, limit, kind)
        for metric, limit in section.__pydantic_extra__.items()
    )
    return tuple(bound for bound in bounds if bound is not None)


def plan_bounds(
    context: Context, path: Path, section: BoundsSection, kind: BoundKind, named: NamedBounds
) -> tuple[Bound, ...]:
    """The bounds at `path`, after those of the named sets that it uses. A metric may be bounded once."""
    found: dict[str, Bound] = {}
    sets: list[tuple[Path, LimitsSection]] = []
    for position, name in enumerate(section.use or ()):
        chosen = context.known((*path, "use", position), "set of named_bounds", name, named)
        if chosen is not None:
            sets.append((("named_bounds", name), chosen))
    for where, limits in [*sets, (path, section)]:
        for bound in plan_limits(context, where, limits, kind):
            if bound.metric in found:
                context.problem(
                    (*path, bound.metric),
                    f"bounds {bound.metric!r} at {bound.origin} and at {found[bound.metric].origin}; "
                    "expected one bound a metric",
                )
            found[bound.metric] = bound
    return tuple(found.values())


def _bound(context: Context, path: Path, metric: str, limit: LimitSection, kind: BoundKind) -> Bound | None:
    unit = _unit(context, path, metric, kind)
    if unit is None:
        return None
    try:
        return parse_bound(
            metric, limit.bound, unit, origin=str(context.mark(path)), confidence=limit.confidence
        )
    except UsageError as error:
        context.problem(path, f"is not a bound: {error}")
        return None


def _unit(context: Context, path: Path, metric: str, kind: BoundKind) -> str | None:
    try:
        return context.vocabulary.unit_of[kind](metric)
    except UsageError as error:
        context.problems.add(context.document.key_mark(path), f"{dotted(path[:-1])}: {error}")
        return None
