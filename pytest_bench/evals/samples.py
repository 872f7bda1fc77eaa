"""Which answers of an eval a reader wants to see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pytest_bench.evals.answers import ScoredItem
from pytest_bench.evals.measure import values_by_item
from pytest_bench.evals.paired import Flip, compare

Selection = Literal["all", "wrong", "unscored", "truncated"]


def selected(scored: Iterable[ScoredItem], key: str, selection: Selection) -> list[ScoredItem]:
    """Answers of one kind under the scoring `key` (`metric,filter`). `wrong` is a score below 1."""
    return [one for one in scored if _is(one, key, selection)]


def flipped(first: Iterable[ScoredItem], second: Iterable[ScoredItem], key: str) -> tuple[Flip, ...]:
    """Items whose score under `key` differs between two concurrencies or runs.

    Raises `NotDefined` if not the same items are scored in both.
    """
    before, after = (values_by_item(key, (one.answered for one in scored)) for scored in (first, second))
    return compare(before, after).flips


def _is(one: ScoredItem, key: str, selection: Selection) -> bool:
    score = one.answered.scores.get(key)
    if selection == "unscored":
        return score is None or score.value is None
    if score is None:
        return selection == "all"
    if selection == "wrong":
        return score.value is not None and score.value < 1
    return selection == "all" or "truncated" in score.conditions
