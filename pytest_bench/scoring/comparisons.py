"""Comparisons: from an extracted answer and a target to a value from 0 to 1."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import signal
import threading
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal, Protocol

import msgspec

from pytest_bench.scoring.extractors import AnchoredNumber, Boxed, plain_number
from pytest_bench.scoring.normaliser import Normaliser


class ExactMatch(msgspec.Struct, frozen=True, kw_only=True, tag="exact_match", tag_field="name"):
    """1 if answer and target are equal after normalising, else 0."""

    binary: ClassVar[bool] = True
    requires: ClassVar[tuple[str, str] | None] = None
    version: int = 1

    def compare(self, answer: str, target: str, normaliser: Normaliser) -> float:
        return float(normaliser(answer) == normaliser(target))


class NumericMatch(msgspec.Struct, frozen=True, kw_only=True, tag="numeric_match", tag_field="name"):
    """1 if both are numbers and equal as decimals, within a tolerance.

    The target may be a number or a text with an anchored one, such as a worked solution that ends in `#### 7`.
    """

    binary: ClassVar[bool] = True
    requires: ClassVar[tuple[str, str] | None] = None
    tolerance: str = "0"
    """Largest absolute difference, as a decimal."""
    relative_tolerance: str = "0"
    """Largest difference as a share of the target's size, as a decimal."""
    version: int = 1

    def __post_init__(self) -> None:
        for value in (self.tolerance, self.relative_tolerance):
            if not 0 <= _decimal(value) < Decimal("Infinity"):
                raise ValueError(f"the tolerance {value!r} must be a decimal of at least 0")

    def compare(self, answer: str, target: str, normaliser: Normaliser) -> float:
        expected_text = AnchoredNumber().extract(target, ()) or plain_number(target.strip())
        expected = _decimal(normaliser(expected_text))
        allowed = max(_decimal(self.tolerance), _decimal(self.relative_tolerance) * abs(expected))
        return float(abs(_decimal(normaliser(answer)) - expected) <= allowed)


class MathVerify(msgspec.Struct, frozen=True, kw_only=True, tag="math_verify", tag_field="name"):
    """1 if `math-verify` finds answer and target mathematically equal.

    Both are parsed as LaTeX only: its parser for plain expressions evaluates Python code. The time limit uses
    SIGALRM, so this runs in the main thread only.
    """

    binary: ClassVar[bool] = True
    requires: ClassVar[tuple[str, str] | None] = ("math_verify", "pytest-inference-bench[math]")
    timeout_s: int = 5
    version: int = 1

    def compare(self, answer: str, target: str, normaliser: Normaliser) -> float:
        from math_verify import LatexExtractionConfig, parse, verify  # noqa: PLC0415 # an extra
        from math_verify.errors import TimeoutException  # noqa: PLC0415 # as above

        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("math-verify needs the main thread: its time limit is a signal")
        gold_text = Boxed().extract(target, ()) or target.strip()
        latex = [LatexExtractionConfig()]
        alarm = signal.getsignal(signal.SIGALRM)
        try:
            gold, found = (
                parse(
                    f"\\boxed{{{normaliser(text)}}}",
                    extraction_config=latex,
                    parsing_timeout=self.timeout_s,
                    raise_on_error=True,
                )
                for text in (gold_text, answer)
            )
            if not gold:
                raise ValueError(f"the target {target[:200]!r} is not LaTeX that math-verify can parse")
            return float(verify(gold, found, timeout_seconds=self.timeout_s, raise_on_error=True))
        except TimeoutException as error:  # not an Exception there
            raise TimeoutError(f"math-verify took longer than {self.timeout_s} s") from error
        finally:
            signal.signal(signal.SIGALRM, alarm)


class Rouge(msgspec.Struct, frozen=True, kw_only=True, tag="rouge", tag_field="name"):
    """F-measure of `rouge-score`."""

    binary: ClassVar[bool] = False
    requires: ClassVar[tuple[str, str] | None] = ("rouge_score", "pytest-inference-bench[rouge]")
    variant: Literal["rouge1", "rouge2", "rougeL"] = "rougeL"
    stemmer: bool = True
    version: int = 1

    def compare(self, answer: str, target: str, normaliser: Normaliser) -> float:
        from rouge_score.rouge_scorer import RougeScorer  # noqa: PLC0415 # an extra

        scorer: Any = RougeScorer([self.variant], use_stemmer=self.stemmer)
        return float(scorer.score(normaliser(target), normaliser(answer))[self.variant].fmeasure)


class Comparison(Protocol):
    """Judges an extracted answer: a frozen msgspec struct, whose fields are part of a scoring's digest."""

    binary: ClassVar[bool]
    """Whether each value is 0 or 1."""
    requires: ClassVar[tuple[str, str] | None]
    """A library that it calls, as module and what to install; None if it calls none. The library's version is part of
    the digest."""

    @property
    def version(self) -> int:
        """Raised with every change of its results."""

    def compare(self, answer: str, target: str, normaliser: Normaliser) -> float:
        """The value of an answer, from 0 to 1. An answer for which it raises is unscored."""


SHIPPED_COMPARISONS = (ExactMatch, NumericMatch, MathVerify, Rouge)


def library_version(comparison: Comparison) -> str | None:
    """Name and version of the library that a comparison calls, because its results depend on them; None without."""
    if comparison.requires is None:
        return None
    name = comparison.requires[0].replace("_", "-")
    return f"{name} {importlib.metadata.version(name)}"


def missing_library(comparison: Comparison) -> str | None:
    """What to install if the library of a comparison is missing; None if nothing is."""
    if comparison.requires is None:
        return None
    module, install = comparison.requires
    return None if importlib.util.find_spec(module) is not None else install


def _decimal(text: str) -> Decimal:
    """Raises `ValueError` for what is not a finite number."""
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(f"{text[:80]!r} is not a number") from error
    if not value.is_finite():
        raise ValueError(f"{text[:80]!r} is not a finite number")
    return value
