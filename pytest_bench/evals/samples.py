"""The answers of an eval in one form for every source: filters, and answers that flipped between runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.evals.measure import Status
from pytest_bench.evals.paired import compare, require_same_items
from pytest_bench.scoring import Score

Wanted = Literal["wrong", "unscored", "truncated"]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request of an eval: what was asked, what came back, and how it was scored."""

    source: str
    """The point, or the file of samples."""
    eval: str
    """The eval without its concurrency: a task of lm-eval, or the points' common name."""
    concurrency: int | None
    """None if the evidence does not state it."""
    item: str
    repeat: int = 0
    content: str
    """Hash of the item, by which two evals are recognised as having the same items."""
    prompt: str | tuple[dict[str, str], ...]
    """Text, or the messages of a chat."""
    outputs: tuple[str | None, ...] = ()
    """Usually one; empty without a response, and None for a content of `null`."""
    reasoning: str = ""
    finish_reason: str | None = None
    limit: str | None = None
    """The eval's limit at which the answer was cut off."""
    target: str
    status: Status = "completed"
    error: str | None = None
    """The last failure of a request that was sent again, or has no answer."""
    attempts: int | None = None
    """None if the evidence does not count them."""
    scores: dict[str, Score] = {}
    """By `metric,filter`."""
    conditions_known: bool = True
    """Whether the evidence says why the answer ended."""

    @property
    def is_unscored(self) -> bool:
        return not self.scores or any(score.value is None for score in self.scores.values())

    @property
    def is_wrong(self) -> bool:
        """Whether any score is below 1."""
        return any(score.value is not None and score.value < 1 for score in self.scores.values())

    @property
    def is_truncated(self) -> bool:
        """Whether it ended at a limit on tokens or time."""
        limits = {"truncated", "time_limited"}
        return any(limits & set(score.conditions) for score in self.scores.values())


class Flipped(NamedTuple):
    """An item whose score differs between two evals."""

    metric: str
    before: tuple[Sample, ...]
    """One for each repeat."""
    after: tuple[Sample, ...]


def narrowed(sample: Sample, metrics: Sequence[str]) -> Sample:
    """The sample with the scores of `metrics` only; all of them if it is empty. Raises `UsageError` for one without."""
    if not metrics:
        return sample
    if sample.scores and (unknown := sorted(set(metrics) - sample.scores.keys())):
        raise UsageError(
            f"--metric {unknown[0]}: {sample.source} has no such score; expected one of {', '.join(sample.scores)}"
        )
    kept = {name: score for name, score in sample.scores.items() if name in metrics}
    return msgspec.structs.replace(sample, scores=kept)


def is_selected(sample: Sample, wanted: Iterable[Wanted]) -> bool:
    """Whether any of `wanted` is true of the sample; all samples are selected if nothing is wanted.

    Raises `UsageError` if the evidence does not say.
    """
    wanted = list(wanted)
    if "truncated" in wanted and not sample.conditions_known:
        raise UsageError(
            f"--truncated: {sample.source} does not say why answers ended; evals of this package do"
        )
    is_true = {"wrong": sample.is_wrong, "unscored": sample.is_unscored, "truncated": sample.is_truncated}
    return not wanted or any(is_true[name] for name in wanted)


def flips(before: Iterable[Sample], after: Iterable[Sample]) -> tuple[list[Flipped], int]:
    """Items whose mean score differs, for each metric that both evals have, and how many could not be compared.

    An item that is unscored in one of them cannot be. Raises `EvidenceError` if they do not have the same items, and
    `UsageError` if they have no metric in common.
    """
    first, second = _by_item(before), _by_item(after)
    require_same_items(_contents(first), _contents(second))
    metrics = [name for name in _metrics(first) if name in _metrics(second)]
    if not metrics:
        raise UsageError(
            f"--flipped: no metric is in both; one has {', '.join(_metrics(first)) or 'none'}, the other "
            f"{', '.join(_metrics(second)) or 'none'}"
        )
    found: list[Flipped] = []
    left_out: set[str] = set()
    for metric in metrics:
        values = [_values(samples, metric) for samples in (first, second)]
        both = values[0].keys() & values[1].keys()
        left_out |= first.keys() - both
        if not both:
            continue
        kept = [{item: own[item] for item in first if item in both} for own in values]
        found += [
            Flipped(metric, tuple(first[flip.item]), tuple(second[flip.item]))
            for flip in compare(*kept).flips
        ]
    return found, len(left_out)


def _by_item(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    by_item: dict[str, list[Sample]] = {}
    for sample in samples:
        by_item.setdefault(sample.item, []).append(sample)
    return by_item


def _contents(by_item: Mapping[str, Sequence[Sample]]) -> dict[str, str]:
    return {item: repeats[0].content for item, repeats in by_item.items()}


def _metrics(by_item: Mapping[str, Sequence[Sample]]) -> list[str]:
    return list(dict.fromkeys(name for own in by_item.values() for sample in own for name in sample.scores))


def _values(by_item: Mapping[str, Sequence[Sample]], metric: str) -> dict[str, list[float]]:
    """Scores by item; an item with an unscored repeat is left out."""
    values: dict[str, list[float]] = {}
    for item, repeats in by_item.items():
        own = [score.value for sample in repeats if (score := sample.scores.get(metric)) is not None]
        known = [value for value in own if value is not None]
        if len(known) == len(repeats):
            values[item] = known
    return values
