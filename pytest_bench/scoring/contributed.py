"""Scorings of third parties, checked when they are registered and not when the first answer comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.files import digest
from pytest_bench.scoring.catalogue import SCORINGS
from pytest_bench.scoring.score import Scoring

_METHODS = {"extractor": "extract", "comparison": "compare", "normaliser": "__call__"}


def all_scorings(contributed: Iterable[object] = ()) -> dict[str, Scoring]:
    """The shipped scorings and `contributed` ones, by name.

    Raises `UsageError` for anything that is not a scoring, for parts that lack a member, and for a name with two
    meanings.
    """
    known = dict(SCORINGS)
    for scoring in contributed:
        if not isinstance(scoring, Scoring):
            raise UsageError(
                f"pytest_bench_scorers: a plugin offers {scoring!r:.80}; expected pytest_bench.scoring.Scoring"
            )
        if problem := next(_problems(scoring), None):
            raise UsageError(f"pytest_bench_scorers: the scorer {scoring.name!r} {problem}")
        if scoring.name in known:
            raise UsageError(
                f"pytest_bench_scorers: the scorer {scoring.name!r} is registered twice, or has the name of a shipped "
                "one; rename it"
            )
        known[scoring.name] = scoring
    return known


def _problems(scoring: Scoring) -> Iterator[str]:
    """Why a scoring is not complete."""
    yield from _name_problems(scoring)
    for part, method in _METHODS.items():
        yield from _part_problems(part, getattr(scoring, part), method)
    if not isinstance(getattr(scoring.comparison, "binary", None), bool):
        yield "has a comparison without `binary`: whether each value is 0 or 1"
    if not _is_requirement(getattr(scoring.comparison, "requires", None)):
        yield "has a comparison whose `requires` is neither None nor (module, what to install)"
    try:
        scoring.foreign_code()
    except UsageError as error:
        yield str(error)
    try:
        digest({"scoring": scoring})
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        yield f"cannot be identified by a digest of its fields: {error}"


def _name_problems(scoring: Scoring) -> Iterator[str]:
    for name in ("name", "metric", "filter"):
        value = getattr(scoring, name)
        if not isinstance(value, str) or not value or (name == "metric" and "," in value):
            yield f"has {name} = {value!r}; expected a text{' without a comma' if name == 'metric' else ''}"
    if not _is_version(scoring.version):
        yield f"has version = {scoring.version!r}; expected a whole number, raised with every change of its results"


def _part_problems(part: str, value: object, method: str) -> Iterator[str]:
    if not (isinstance(value, msgspec.Struct) and value.__struct_config__.frozen):
        yield f"has {part} = {value!r:.80}; expected a frozen msgspec.Struct, whose fields its digest covers"
    elif not callable(getattr(value, method, None)):
        yield f"has the {part} {type(value).__qualname__}, which lacks {method}()"
    elif "version" not in value.__struct_fields__ or not _is_version(getattr(value, "version", None)):
        yield f"has the {part} {type(value).__qualname__}, which lacks a field `version`, a whole number"


def _is_version(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_requirement(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(word, str) for word in value)
