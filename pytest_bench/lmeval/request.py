"""What was asked of an eval: it reaches the judge apart from what the eval left behind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pytest_bench.errors import UsageError
from pytest_bench.lmeval.thresholds import Thresholds

_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What must be in the folder, and how good it must be."""

    concurrencies: tuple[int, ...] | None
    """Which were asked for; None: nobody says, which is an error in itself."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    min_score: float | None = None
    """For tasks that the thresholds do not name."""
    metric_prefix: str = "exact_match,"
    """What the names of the metrics that are checked begin with."""
    model_prefix: str | None = None
    """Whose thresholds apply; None: the metadata says."""
    not_before_s: float | None = None
    """Results from before this moment, in seconds since 1970, are of an earlier run; None: any age is good."""
    not_after_s: float | None = None
    """Results from after this moment were made by no clock that can be trusted; None: any are good."""
    limit: int | None = None
    """How many samples a task was meant to be cut to; None: to none."""


def parse_concurrencies(text: str) -> tuple[int, ...]:
    """Read "1 2 4". Raises `UsageError` for anything but unique positive numbers, at least one."""
    words = text.split()
    if not words:
        raise UsageError(
            "the expected concurrencies are empty: expected numbers such as '1 2 4'; "
            "a variable that was lost on its way looks like this"
        )
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise UsageError(f"{word!r} is no concurrency: expected positive numbers such as '1 2 4'")
    if len(set(words)) != len(words):
        raise UsageError(f"the expected concurrencies {text!r} repeat one: expected each once")
    return tuple(int(word) for word in words)
