"""Judges the gates of a point: on its scores, against a baseline, and with the other concurrencies of its sweep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.evals.answers import ScoredItem
from pytest_bench.evals.gates import Gate, GateResult, correct_sweep, judge_estimate, judge_paired
from pytest_bench.evals.measure import EvalMetrics, values_by_item
from pytest_bench.evals.paired import Paired, compare, require_same_items
from pytest_bench.evals.tasks import Item
from pytest_bench.metrics.observed import NotDefined
from pytest_bench.results.reading import read_versioned
from pytest_bench.verdict.outcome import Outcome

BASELINES_VERSION = 2
BASELINES = "baselines.json"


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of an earlier point that was verified when they were read."""

    results: str
    """Its results folder, as declared."""
    point: str
    nonce: str
    evidence: str
    """sha256 of its `evidence.json`."""
    items: dict[str, str]
    """Content hash of each item by id."""
    values: dict[str, list[float]]
    """Scores by item: one value a repeat, unscored ones 0 within the allowance."""


class BaselinesFile(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `baselines.json`: what the gates of a point were judged against."""

    version: int = BASELINES_VERSION
    nonce: str
    """Nonce of the session that judged the point."""
    baselines: tuple[tuple[int, Baseline], ...]
    """Each with the position of its gate."""


class Family(NamedTuple):
    """The other points of a sweep. The points of a sweep share their gates."""

    size: int = 1
    """Points of the sweep, this one included."""
    earlier: tuple[tuple[GateResult, ...], ...] = ()
    """The gates of those that were judged before, without correction."""


class JudgedGates(NamedTuple):
    results: tuple[GateResult, ...]
    """Of this point alone."""
    corrected: tuple[GateResult, ...]
    """With Holm's correction over the sweep."""
    pairs: dict[int, Paired]
    """The paired comparison of each gate that has a baseline."""
    problems: tuple[str, ...]
    """Why gates could not be judged."""


def read_baselines(folder: Path) -> dict[int, Baseline]:
    """The baselines in a point's evidence; none without a file. Raises `EvidenceError`."""
    path = folder / BASELINES
    if not path.exists():
        return {}
    return dict(read_versioned(path, BaselinesFile, BASELINES_VERSION).baselines)


def judge_gates(
    gates: Sequence[Gate],
    metrics: EvalMetrics,
    answers: Sequence[ScoredItem],
    items: Sequence[Item],
    baselines: Mapping[int, Baseline],
    family: Family,
) -> JudgedGates:
    """Judge every gate whose score is defined."""
    results: list[GateResult] = []
    pairs: dict[int, Paired] = {}
    problems: list[str] = []
    for number, gate in enumerate(gates):
        found = metrics.scorings[gate.metric].estimate
        if found is None:
            problems.append(f"{gate.metric} is not defined, so its gate cannot be judged")
        elif gate.kind != "non_inferior":
            results.append(judge_estimate(gate, found))
        elif number not in baselines:
            problems.append(f"the gate on {gate.metric} has no baseline to be judged against")
        else:
            try:
                pairs[number] = _paired(gate, answers, items, baselines[number])
                results.append(judge_paired(gate, pairs[number]))
            except (EvidenceError, NotDefined) as error:
                problems.append(f"the gate on {gate.metric} cannot be judged: {error}")
    corrected = tuple(results) if problems else tuple(_corrected(results, family))
    return JudgedGates(tuple(results), corrected, pairs, tuple(problems))


def _paired(gate: Gate, answers: Sequence[ScoredItem], items: Sequence[Item], baseline: Baseline) -> Paired:
    require_same_items(baseline.items, {item.id: item.content for item in items})
    own = values_by_item(gate.metric, (one.answered for one in answers), unscored=0.0)
    return compare(baseline.values, own)


def _corrected(results: Sequence[GateResult], family: Family) -> Iterator[GateResult]:
    """Holm's correction (Holm 1979) over the sweep, as far as it was judged.

    A point that is not judged yet counts as undecided (p = 1), which makes the correction of the others larger: what is
    decided now stays decided with the results of all points.
    """
    earlier = [one for one in family.earlier if len(one) == len(results)]
    for number, result in enumerate(results):
        known = [gates[number] for gates in earlier]
        undecided = msgspec.structs.replace(result, outcome=Outcome.INCONCLUSIVE, p_pass=1.0, p_fail=1.0)
        later = max(0, family.size - 1 - len(known))
        if result.p_pass is None:
            yield result
        else:
            yield correct_sweep([*known, result, *[undecided] * later])[len(known)]
