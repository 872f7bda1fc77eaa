"""What was requested of an eval. It comes from a source other than the folder that the eval wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pytest_bench.errors import UsageError
from pytest_bench.lmeval.thresholds import Thresholds

_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the folder must hold, and how good the scores must be."""

    concurrencies: tuple[int, ...] | None
    """The requested concurrencies. None: not known, which is an error."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    min_score: float | None = None
    """Minimum score of tasks that the thresholds do not name."""
    tasks: tuple[str, ...] = ()
    """Tasks that every result must have a score of; others may be there too."""
    metric_prefix: str = "exact_match,"
    """Prefix of the metrics to check."""
    model: str | None = None
    """The model that was requested. None: the one that the metadata names."""
    model_prefix: str | None = None
    """The model whose thresholds apply. None: as in the metadata."""
    not_before_s: float | None = None
    """Results made before this time (seconds since 1970) are refused as those of an earlier run. None: any age."""
    not_after_s: float | None = None
    """Results made after this time are refused because a clock is wrong. None: no check."""
    limit: int | None = None
    """Number of samples to which each task was limited on purpose. None: no limit."""
    allow_missing: frozenset[str] = frozenset()
    """Fields of the metadata that may be missing: `eval_exit_code`."""


def parse_concurrencies(text: str) -> tuple[int, ...]:
    """Read "1 2 4". Raises `UsageError` for anything but unique positive numbers, at least one."""
    words = text.split()
    if not words:
        raise UsageError(
            "the expected concurrencies are empty: expected numbers such as '1 2 4'; "
            "an unset variable looks like this"
        )
    for word in words:
        if not _NUMBER.fullmatch(word):
            raise UsageError(f"{word!r} is not a concurrency: expected positive numbers such as '1 2 4'")
    if len(set(words)) != len(words):
        raise UsageError(f"the expected concurrencies {text!r} repeat one: expected each once")
    return tuple(int(word) for word in words)


def parse_tasks(text: str) -> tuple[str, ...]:
    """Read "gsm8k mmlu". Raises `UsageError` unless there is at least one name and each is given once."""
    words = text.split()
    if not words:
        raise UsageError("the expected tasks are empty: expected names such as 'gsm8k mmlu'")
    if len(set(words)) != len(words):
        raise UsageError(f"the expected tasks {text!r} repeat one: expected each once")
    return tuple(words)
