"""Evals of two sides, compared item by item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pytest_bench.comparison.values import Measured
from pytest_bench.evals.paired import Paired, bounds, compare, require_same_items
from pytest_bench.evals.sample_sources import read_point
from pytest_bench.metrics.distributions import normal_quantile
from pytest_bench.metrics.shifts import POWER
from pytest_bench.scoring import Scorings


class Items(NamedTuple):
    """The answers of one side to each item of an eval."""

    contents: dict[str, str]
    """Hash of each item."""
    scores: dict[str, dict[str, list[float]]]
    """By metric, then item: one value for each answer of each session. Unscored ones are 0, as in the score."""


def read_items(measured: Measured, scorings: Scorings) -> Items:
    """Read all answers of a side. Raises `EvidenceError` for damaged files."""
    contents: dict[str, str] = {}
    answers: dict[str, list[dict[str, float | None]]] = {}
    metrics: dict[str, None] = {}
    for session, point, _ in measured.points:
        found: dict[str, str] = {}
        for sample in read_point(session.folder, point, scorings):
            found[sample.item] = sample.content
            metrics |= dict.fromkeys(sample.scores)
            answers.setdefault(sample.item, []).append(
                {name: score.value for name, score in sample.scores.items()}
            )
        if contents:
            require_same_items(contents, found)
        contents = found
    scores = {
        metric: {item: [given.get(metric) or 0.0 for given in own] for item, own in answers.items()}
        for metric in metrics
    }
    return Items(contents, scores)


def pair_up(baseline: Items, candidate: Items) -> Iterator[tuple[str, Paired]]:
    """Each metric that both sides have, compared item by item. Raises `EvidenceError` for other items."""
    require_same_items(baseline.contents, candidate.contents)
    for metric, own in baseline.scores.items():
        if metric in candidate.scores:
            yield metric, compare(own, candidate.scores[metric])


class OfItems(NamedTuple):
    """The shift of a score; larger is worse if `worse` is 1, smaller if it is -1. The items are the sample."""

    paired: Paired
    worse: int
    repeats: int

    @property
    def value(self) -> float:
        return self.worse * self.paired.difference

    @property
    def method(self) -> str:
        return "items"

    def limits(self, tail: float) -> tuple[float, float]:
        low, high = bounds(self.paired, 1 - tail)
        return (low, high) if self.worse > 0 else (-high, -low)

    def needed(self, tail: float, resolution: float) -> int:  # noqa: ARG002 # as of every shift
        """The sessions that there are: the number of items, which the dataset fixes, decides."""
        return self.repeats

    def items_needed(self, tail: float, resolution: float) -> int:
        """Items that decide a difference of `resolution` from a limit, if they differ as these do."""
        low, high = self.limits(tail)
        error = (high - low) / 2 / normal_quantile(1 - tail)
        deviates = normal_quantile(1 - tail) + normal_quantile(POWER)
        return max(1, round(self.paired.items * (deviates * error / resolution) ** 2 + 0.5))
