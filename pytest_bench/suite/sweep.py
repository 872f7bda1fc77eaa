"""The combinations of a sweep, and what they add to the ids of points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal

from pytest_bench.suite.schema import EvalSweepSection, SweepSection

LETTERS: dict[str, tuple[str, int]] = {
    "concurrency": ("c", 4),
    "rate": ("r", 4),
    "max_concurrency": ("m", 4),
    "requests": ("n", 5),
    "isl": ("isl", 5),
    "osl": ("osl", 5),
}
"""Prefix of each dimension in ids, in the order in which they appear there, and the digits that it is padded to.

Padding keeps ids stable when a longer value is added, makes names sort, and makes `-k c0008` select one value only."""

Value = int | float


def combinations(sweep: SweepSection | EvalSweepSection | None) -> Iterator[dict[str, Value]]:
    """Every combination, the last dimension fastest. Without a sweep, a single empty one."""
    dimensions = [(name, getattr(sweep, name, None) or ()) for name in LETTERS] if sweep else []
    present = [(name, values) for name, values in dimensions if values]
    for chosen in itertools.product(*(values for _, values in present)):
        yield dict(zip((name for name, _ in present), chosen, strict=True))


def segment(values: Mapping[str, Value]) -> str:
    """The part of an id that states `values`: `c0008-isl01024`; a rate of 0.5 is `r0000.5`."""
    return "-".join(
        f"{LETTERS[name][0]}{padded(values[name], LETTERS[name][1])}" for name in LETTERS if name in values
    )


def padded(value: Value, digits: int) -> str:
    """`value` in plain decimal notation, its whole part padded with zeros to `digits`."""
    number = Decimal(str(value))
    whole, _, fraction = f"{number:f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole:>0{digits}}" + (f".{fraction}" if fraction else "")
