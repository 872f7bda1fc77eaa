"""The named scorings. A name that belongs to another tool gives that tool's results exactly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.scoring.comparisons import ExactMatch, MathVerify, NumericMatch, Rouge, missing_library
from pytest_bench.scoring.extractors import AnchoredNumber, Boxed, ChoiceRegex, Letter, Regex, WholeText
from pytest_bench.scoring.normaliser import Normaliser
from pytest_bench.scoring.responses import TextChoice
from pytest_bench.scoring.score import Scoring
from pytest_bench.wording import did_you_mean, one_of

_GSM8K_STRICT = r"#### (\-?[0-9\.\,]+)"
_GSM8K_FLEXIBLE = r"(-?[$0-9.,]{2,})|(-?[0-9]+)"
_GSM8K_NORMALISER = Normaliser(
    regexes_to_ignore=(",", r"\$", r"(?s).*#### ", r"\.$"), ignore_case=True, ignore_punctuation=False
)
_STRIPPED = Normaliser(strip=True)
_LETTERS = Normaliser(ignore_case=True, ignore_punctuation=True)


def _exact(name: str, filter_name: str, extractor: Any, normaliser: Normaliser, version: int = 1) -> Scoring:
    return Scoring(
        name=name,
        version=version,
        metric="exact_match",
        filter=filter_name,
        extractor=extractor,
        normaliser=normaliser,
        comparison=ExactMatch(),
    )


Scorings = Mapping[str, Scoring]
"""Scorings by name."""

SCORINGS: Scorings = {
    scoring.name: scoring
    for scoring in (
        # lm-eval 0.4.13, task gsm8k, version 3.0
        _exact("gsm8k-strict-match", "strict-match", Regex(pattern=_GSM8K_STRICT), _GSM8K_NORMALISER, 3),
        _exact(
            "gsm8k-flexible-extract",
            "flexible-extract",
            Regex(pattern=_GSM8K_FLEXIBLE, select="last"),
            _GSM8K_NORMALISER,
            3,
        ),
        # InferenceX, utils/evals/gsm8k.yaml: the last match counts, and its prompt and stop strings differ
        _exact(
            "gsm8k-inferencex-strict-match",
            "strict-match",
            Regex(pattern=_GSM8K_STRICT, select="last"),
            _GSM8K_NORMALISER,
            3,
        ),
        _exact(
            "gsm8k-inferencex-flexible-extract",
            "flexible-extract",
            Regex(pattern=_GSM8K_FLEXIBLE, select="last"),
            _GSM8K_NORMALISER,
            3,
        ),
        # lm-eval 0.4.13, tasks gpqa_*_cot_zeroshot, version 2.2
        _exact("gpqa-flexible-extract", "flexible-extract", ChoiceRegex(), _LETTERS, 2),
        # InferenceX, utils/evals/gpqa_diamond.yaml
        _exact(
            "gpqa-inferencex-extract-abcd",
            "extract_abcd",
            Regex(pattern=r"(?i)\b\(?([A-D])\)?\b", select="last"),
            Normaliser(ignore_case=True),
        ),
        _exact("multiple-choice", "letter", Letter(), _LETTERS),
        _exact("multiple-choice-shuffled", "shuffled-letter", Letter(), _LETTERS),
        _exact("exact-match", "stripped", WholeText(), _STRIPPED),
        _exact("regex", "regex", Regex(pattern=""), _STRIPPED),
        Scoring(
            name="numeric",
            version=1,
            metric="numeric_match",
            filter="last-anchored",
            extractor=AnchoredNumber(),
            comparison=NumericMatch(),
        ),
        Scoring(
            name="boxed-math",
            version=1,
            metric="math_verify",
            filter="boxed",
            extractor=Boxed(),
            comparison=MathVerify(),
        ),
        *(
            Scoring(
                name=variant.lower(),
                version=1,
                metric=variant,
                filter="none",
                extractor=WholeText(),
                comparison=Rouge(variant=variant),
            )
            for variant in ("rouge1", "rouge2", "rougeL")
        ),
    )
}
"""Every named scoring by name. `regex` has no pattern of its own: its declaration must give one."""

_OPTIONS = frozenset({"text", "extractor", "normaliser", "comparison"})
_FIXED = frozenset(name for name in SCORINGS if name.startswith(("gsm8k-", "gpqa-")))


def build_scoring(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    origin: str = "",
    among: Scorings = SCORINGS,
) -> Scoring:
    """The scoring called `name`, one of `among`, with `options` replacing fields of its parts.

    `options` may hold `text`, and mappings `extractor`, `normaliser` and `comparison`, for example
    `{"extractor": {"pattern": "Answer: (.*)"}}`. A scoring that carries another tool's name takes `text` only.
    Raises `UsageError` that begins with `origin` if it cannot be built: no other scoring takes its place.
    """
    where = f"{origin}: " if origin else ""
    scoring = among.get(name)
    if scoring is None:
        raise UsageError(
            f"{where}unknown scorer {name!r}{did_you_mean(name, among)}; expected one of {one_of(sorted(among))}, or "
            "one of a plugin that is installed or named with -p"
        )
    given = dict(options or {})
    if unknown := sorted(given.keys() - _OPTIONS):
        raise UsageError(
            f"{where}scorer {name!r} has no option {unknown[0]!r}; expected {', '.join(_OPTIONS)}"
        )
    if name in _FIXED and (changed := sorted(given.keys() - {"text"})):
        raise UsageError(
            f"{where}scorer {name!r} reproduces another tool's results, so {changed[0]!r} cannot be changed; use "
            "'regex' or 'exact-match' instead"
        )
    try:
        changed_parts = {part: _changed(part, getattr(scoring, part), value) for part, value in given.items()}
        built = msgspec.structs.replace(scoring, **changed_parts)
    except (msgspec.ValidationError, re.error, ValueError) as error:
        raise UsageError(f"{where}scorer {name!r} cannot be built: {error}") from error
    if isinstance(built.extractor, Regex) and not built.extractor.pattern:
        raise UsageError(f"{where}scorer {name!r} needs `extractor: {{pattern: ...}}`")
    if install := missing_library(built.comparison):
        raise UsageError(
            f"{where}scorer {name!r} needs a library that is not installed: pip install '{install}'"
        )
    return built


def _changed(name: str, part: Any, value: object) -> Any:
    """A part of a scoring with some of its fields replaced. Raises `ValueError` and `ValidationError`."""
    if name == "text":
        return msgspec.convert(value, TextChoice)
    if not isinstance(value, Mapping):
        raise ValueError(f"`{name}` must be a mapping of fields to values")  # noqa: TRY004 # shown as a plan error
    fields = msgspec.to_builtins(part)
    if unknown := sorted(value.keys() - fields.keys() | value.keys() & {"name", "version"}):
        raise ValueError(f"`{name}` has no field {unknown[0]!r} that can be set")
    return msgspec.convert({**fields, **value}, type(part))
