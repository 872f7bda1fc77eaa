"""What `--fail-on` says: a metric, and the difference from which the candidate counts as worse."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from pytest_bench.bounds import parse_bound, split_inline
from pytest_bench.errors import UsageError
from pytest_bench.evals import definitions as of_evals
from pytest_bench.metrics import names
from pytest_bench.metrics.definitions import DEFINITIONS, Better
from pytest_bench.metrics.names import is_score_name
from pytest_bench.scoring import Scorings

EXAMPLE = "time_to_first_token.p99 > +5%"


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """The candidate is worse if its `metric` differs from that of the baseline by more than `limit`."""

    text: str
    metric: str
    worse: Literal[1, -1]
    """1: if the difference is above the limit; -1: below."""
    relative: bool
    limit: float
    """A fraction of the baseline, or a difference in the metric's base unit."""
    resolution: float
    """The smallest excess over the limit that matters, of the same kind. Positive."""


def parse_condition(text: str, resolution: str | None, scorings: Scorings) -> Condition:
    """Read a condition such as "time_to_first_token.p99 > +5%" or "exact_match,strict-match < -0.01".

    `resolution` is the smallest excess that matters, as in "2%"; None: as much as the limit. Raises `UsageError`.
    """
    try:
        metric, rest = split_inline(text)
    except UsageError:
        raise UsageError(f"--fail-on {text!r}: expected a condition like {EXAMPLE!r}") from None
    is_score = is_score_name(metric)
    unit = of_evals.unit_of(metric, scorings) if is_score else names.unit_of(metric)
    better = better_of(metric)
    if rest[1:].strip()[:1] not in {"+", "-"}:
        raise UsageError(f"--fail-on {text!r}: a difference needs its sign, as in {EXAMPLE!r}")
    relative = rest.endswith("%")
    if relative and unit in {"fraction", "requests"}:
        raise UsageError(
            f"--fail-on {text!r}: {metric} may be 0, and has no relative difference; "
            f"write one in {_unit_shown(unit)}, as in '{metric} {rest[0]} {'-' if better == 'higher' else '+'}0.01'"
        )
    bound = parse_bound(metric, rest, "fraction" if relative else unit)
    if bound.comparison not in {"<", ">"}:
        raise UsageError(f"--fail-on {text!r}: expected > or < and a difference, as in {EXAMPLE!r}")
    worse: Literal[1, -1] = 1 if bound.comparison == ">" else -1
    if better != "neither" and worse != (1 if better == "lower" else -1):
        raise UsageError(
            f"--fail-on {text!r}: {metric} is better when {better}, so this would fail on an improvement; "
            f"write '{metric} {'>' if better == 'lower' else '<'} …'"
        )
    if relative and bound.limit <= -1:
        raise UsageError(f"--fail-on {text!r}: nothing falls by 100 % or more")
    return Condition(
        text=text,
        metric=metric,
        worse=worse,
        relative=relative,
        limit=bound.limit,
        resolution=_resolution(text, metric, resolution, bound.limit, unit, relative=relative),
    )


def better_of(metric: str) -> Better:
    """Which direction of a metric is better. Scores are better when higher."""
    return "higher" if is_score_name(metric) else DEFINITIONS[metric.partition(".")[0]].better


def _resolution(
    text: str, metric: str, resolution: str | None, limit: float, unit: str, *, relative: bool
) -> float:
    if resolution is None and not limit:
        raise UsageError(
            f"--fail-on {text!r}: whether a difference is above 0 cannot be decided for every difference; name the "
            "smallest that matters, as in --resolution 2%"
        )
    if resolution is None:
        return abs(limit)
    if resolution.strip().endswith("%") != relative:
        raise UsageError(f"--resolution {resolution!r}: expected the same unit as in --fail-on {text!r}")
    smallest = parse_bound(metric, f"> {resolution}", "fraction" if relative else unit).limit
    if not smallest > 0 or not math.isfinite(smallest):
        raise UsageError(f"--resolution {resolution!r}: expected more than 0")
    return smallest


def _unit_shown(unit: str) -> str:
    return {"fraction": "fractions of 1"}.get(unit, unit)
