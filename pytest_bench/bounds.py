"""Bounds: the limits a suite puts on metrics, and the small language they are written in.

    time_to_first_token.p99: "<= 200ms"
    request_throughput: ">= 0.05"
    error_rate: "<= 1%"

A name is a metric, followed by a dot and a statistic if the metric is a distribution. A value is a comparison, a
finite number, and a unit if the metric has one.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any, Literal

import msgspec

from pytest_bench.errors import UsageError

Comparison = Literal["<=", "<", ">=", ">", "=="]

_COMPARE: dict[str, Callable[[Any, float], Any]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}

TIME_UNITS: dict[str, int] = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
"""Nanoseconds in one of each."""

SCHEDULED: dict[str, str] = {
    "time_to_first_token": "scheduled_time_to_first_token",
    "request_latency": "scheduled_request_latency",
}
"""In open loop, a bound on the former applies to the latter, which includes the time that a request waited."""

_PERCENT = Decimal("0.01")
_EXACT = Context(prec=400, Emin=-(10**6), Emax=10**6)
"""Digits enough that multiplying by a unit rounds nothing: only the conversion to a float rounds."""

_BOUND = re.compile(
    r"\s*(?P<comparison><=|>=|==|<|>)\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?P<unit>%|[a-z]*)\s*"
)
_INLINE = re.compile(r"\s*(?P<name>[^<>=\s]+(?:[^<>=]*[^<>=\s])?)\s*(?P<rest>(?:<=|>=|==|<|>).*)")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. `limit` is in the metric's base unit: nanoseconds for times, fractions for shares."""

    metric: str
    """As written, statistic included: `time_to_first_token.p99`."""
    comparison: Comparison
    limit: float
    text: str
    """The limit as the user wrote it."""
    origin: str = ""
    """`file:line:column` of the declaration; empty for a bound that is implied or made in code."""
    confidence: float | None = None
    """Confidence of the interval that must be within the limit; the bound is inconclusive if the interval spans it."""

    def holds(self, value: float) -> bool:
        """Whether `value` (in the base unit) is within the limit. False for NaN."""
        return bool(self.holds_each(value))

    def holds_each(self, values: Any) -> Any:
        """As `holds`, for each value of an array."""
        return _COMPARE[self.comparison](values, self.limit)


def parse_bound(
    metric: str, text: str, unit: str, *, origin: str = "", confidence: float | None = None
) -> Bound:
    """Read `text` ("<= 200ms") as a bound on `metric`, whose base unit is `unit` ("ns", "fraction", …).

    Raises `UsageError` for a malformed bound, for a time without a unit, and for a unit that the metric does not
    have.
    """
    match = _BOUND.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a bound: expected a comparison (<=, <, >=, >, ==) and a number, as in {_example(unit)!r}"
        )
    limit = _in_base_unit(match["number"], _scale(text, match["unit"], unit))
    if not math.isfinite(limit):
        raise UsageError(f"{text!r}: the limit must be a finite number")
    return Bound(
        metric=metric,
        comparison=match["comparison"],  # type: ignore[arg-type] # the pattern admits these only
        limit=limit,
        text=" ".join(text.split()),
        origin=origin,
        confidence=confidence,
    )


def split_inline(text: str) -> tuple[str, str]:
    """Split "time_to_first_token.p99 <= 200ms" into the metric and the rest. Raises `UsageError`."""
    match = _INLINE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a requirement: expected one like 'time_to_first_token.p99 <= 200ms'"
        )
    return match["name"], match["rest"]


def _in_base_unit(number: str, scale: Decimal) -> float:
    """The float nearest to `number` times `scale`: 95 % is 0.95, as a count of 95 in 100 gives it."""
    if not math.isfinite(float(number)) or not float(number):
        return float(number)
    return float(_EXACT.multiply(Decimal(number), scale))


def _scale(text: str, suffix: str, unit: str) -> Decimal:
    if unit == "ns":
        if suffix not in TIME_UNITS:
            raise UsageError(
                f"{text!r}: a time needs one of the units {', '.join(TIME_UNITS)}, as in '<= 200ms'"
            )
        return Decimal(TIME_UNITS[suffix])
    if suffix == "%" and unit == "fraction":
        return _PERCENT
    if suffix:
        raise UsageError(
            f"{text!r}: this metric is in {unit}; write the number alone, as in {_example(unit)!r}"
        )
    return Decimal(1)


def _example(unit: str) -> str:
    return {"ns": "<= 200ms", "fraction": "<= 1%"}.get(unit, ">= 10")
