"""A scoring: text choice, extractor, normaliser and comparison as one configuration, and the score of a response."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import msgspec

from pytest_bench.files import digest
from pytest_bench.scoring.code import Code, identify
from pytest_bench.scoring.comparisons import SHIPPED_COMPARISONS, Comparison, library_version
from pytest_bench.scoring.extractors import SHIPPED_EXTRACTORS, Extractor
from pytest_bench.scoring.normaliser import Normaliser
from pytest_bench.scoring.responses import (
    Condition,
    Response,
    TextChoice,
    TextSource,
    conditions,
    scored_text,
)

_SHIPPED = frozenset[type]((*SHIPPED_EXTRACTORS, *SHIPPED_COMPARISONS, Normaliser))


class Score(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Score of one response."""

    value: float | None
    """From 0 to 1; None if the response could not be scored."""
    extracted: str | None = None
    source: TextSource = "content"
    """The part of the response that was scored."""
    conditions: tuple[Condition, ...] = ()
    error: str | None = None
    """Traceback of a scorer that failed on this response."""


class Scoring(msgspec.Struct, frozen=True, kw_only=True):
    """One way to score a task. Two scorings with equal digests give equal scores to equal responses."""

    name: str
    """Unique within the catalogue: a variant of another tool has a name of its own."""
    version: int
    metric: str
    """lm-eval's name of the metric: the part of a result's key before the comma."""
    filter: str
    """lm-eval's name of the filter: the part after it."""
    extractor: Extractor
    comparison: Comparison
    normaliser: Normaliser = Normaliser()
    text: TextChoice = "content"

    @property
    def key(self) -> str:
        return f"{self.metric},{self.filter}"

    @property
    def is_binary(self) -> bool:
        """Whether every value is 0 or 1."""
        return self.comparison.binary

    def digest(self, prompt: str) -> str:
        """sha256 (hex) of the whole configuration: this, the prompt's template, the version of the library that
        compares, if there is one, and the code of parts that are not shipped.

        Raises `UsageError` for a part whose code cannot be found.
        """
        foreign = self.foreign_code()
        code = {"code": foreign} if foreign else {}  # the shipped ones state names and versions themselves
        return digest(
            {"prompt": prompt, "scoring": self, "library": library_version(self.comparison), **code}
        )

    def foreign_code(self) -> list[Code]:
        """The code of each part that is not shipped. Raises `UsageError` if it cannot be found."""
        parts = (self.extractor, self.comparison, self.normaliser)
        return [identify(type(part)) for part in parts if type(part) not in _SHIPPED]

    def score(self, response: Response, target: str, choices: Sequence[str] = ()) -> Score:
        """Score one response. An answer that cannot be extracted is wrong; a scorer that fails gives None."""
        text, source = scored_text(response, self.text)
        found = conditions(response, text)
        extracted: str | None = None
        error: str | None = None
        try:
            extracted = _text(self.extractor.extract(text, choices))
            value: float | None = 0.0
            if extracted is None:
                found.add("extraction_failed")
            else:
                value = _value(
                    self.comparison.compare(extracted, target, self.normaliser), binary=self.is_binary
                )
        except (Exception, SystemExit):  # noqa: BLE001 # kept in the score and counted: a failed scorer is never wrong
            value, error = None, traceback.format_exc()
        return Score(
            value=value, extracted=extracted, source=source, conditions=tuple(sorted(found)), error=error
        )


def _text(extracted: object) -> str | None:
    """What an extractor returned. Raises `TypeError` for anything but a text or None."""
    if extracted is not None and not isinstance(extracted, str):
        raise TypeError(f"the extractor returned {extracted!r:.80}; expected a text or None")
    return extracted


def _value(value: object, *, binary: bool) -> float:
    """What a comparison returned. Raises `ValueError` for what is not a value from 0 to 1."""
    if not isinstance(value, int | float) or not 0 <= value <= 1 or (binary and value not in {0, 1}):
        raise ValueError(
            f"the comparison returned {value!r:.80}; expected {'0 or 1' if binary else 'a number from 0 to 1'}"
        )
    return float(value)
