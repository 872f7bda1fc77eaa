"""What checking a folder came to."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong."""

    file: str
    """Relative to the folder."""
    field: str
    """Path of the field within the file; empty where the whole file is meant."""
    sentence: str
    """What was found, and what was expected."""

    def __str__(self) -> str:
        place = f"{self.file}: {self.field}" if self.field else self.file
        return f"{place}: {self.sentence}"


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """One score beside its threshold."""

    file: str
    conc: int | None
    task: str
    metric: str
    """As lm-eval names it, filter included: `exact_match,strict-match`."""
    value: float
    stderr: float | None
    """None where lm-eval has none."""
    threshold: float | None
    source: str | None
    """Where the threshold came from: `models.<prefix>`, `default` or `--min-score`."""
    recomputed: bool
    """Whether the samples were there, and gave the same score."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found. Good only without a problem."""

    problems: tuple[Problem, ...]
    scores: tuple[Score, ...] = ()

    @property
    def good(self) -> bool:
        return not self.problems


def show(value: object) -> str:
    """A value out of a file, short and safe to print."""
    text = ascii(value) if isinstance(value, str) else _shortened(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _shortened(value: object) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int() if abs(value) >= 10**40:
            return "a number of more than 40 digits"
        case int() | float():
            return repr(value)
        case list():
            return f"a list of {len(value)}" if len(value) > 16 else ascii(value)
        case dict():
            return "an object"
    return f"a {type(value).__name__}"


def listed(numbers: list[int]) -> str:
    """Numbers in ascending order, for a sentence."""
    return ", ".join(str(number) for number in sorted(numbers))
