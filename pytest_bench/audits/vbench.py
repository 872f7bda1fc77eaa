"""A VBench result that was made elsewhere, accepted as evidence.

MLPerf scores WAN2.2 by the mean of six VBench dimensions on a scale of 0 to 100; the gate is 99 % of the reference's
70.48 (mlcommons/inference, `submission_checker/constants.py`). VBench itself writes scores from 0 to 1. The scale
follows from the format of the file, never from the value alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, final

from pydantic import Field

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPlan,
    Findings,
    Setting,
    Undecided,
)
from pytest_bench.audits.shared import outcome_line, scalars
from pytest_bench.labels import Label
from pytest_bench.results.details import AuditResult
from pytest_bench.suite.section import Count, Text

DIMENSIONS: tuple[str, ...] = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "appearance_style",
    "scene",
)
"""Those of MLPerf's WAN2.2 benchmark (mlcommons/inference, `text_to_video/wan-2.2-t2v-a14b`)."""

RESULT = "vbench_result.json"

_AGREEMENT = 0.01
"""Largest difference between a stated score and the mean of its dimensions, which are rounded to two digits."""


class VBenchFields(AuditFields):
    """Whether the videos are good enough, according to a VBench result that was made elsewhere."""

    result: Text
    """The result file, relative to the folder of the suite."""
    minimum: Annotated[float, Field(gt=1, le=100)] = 69.7752
    """Lower bound on the mean of the six dimensions, on a scale of 0 to 100, inclusive."""
    videos: Count = 248
    """Number of videos that must have been scored. MLPerf's dataset has 248 prompts."""


@final
class VBench:
    """Checks a result file for scale and completeness. It has no phases."""

    id: ClassVar[str] = "vbench"
    artifact: ClassVar[str] = "vbench_accuracy"
    fields: ClassVar[type[AuditFields]] = VBenchFields
    patterns: ClassVar[frozenset[str]] = frozenset(
        {"burst", "concurrency", "constant", "poisson", "gamma", "trace", "stages"}
    )

    def plan(self, setting: Setting) -> AuditPlan:
        return AuditPlan(phases=(), files={RESULT: setting.folder / setting.fields(VBenchFields).result})

    def validate(self, setting: Setting) -> None:
        """No checks beyond those of every audit."""

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(VBenchFields)
        result = read_result(findings.files[RESULT])
        return judge(result, minimum=fields.minimum, expected_videos=fields.videos)


class VBenchResult(NamedTuple):
    """What a result file says."""

    score: float
    """Mean of the dimensions, 0 to 100."""
    dimensions: Mapping[str, float] | None
    """Score by dimension, 0 to 100; None if the file does not state them."""
    videos: int


def read_result(data: bytes) -> VBenchResult:
    """Read a VBench result of one of four formats.

    - `{"dimensions": {name: score}, "videos": n}`, scores from 0 to 100.
    - VBench's own `{name: [score, [per video, ...]]}`, scores from 0 to 1.
    - `accuracy_results.json` of mlcommons/endpoints: one entry of `accuracy_scores` with a score from 0 to 1, which
      its `VBenchScorer` takes from VBench, and `total_samples`, without a breakdown.
    - The same with a breakdown by dimension, which mlcommons/endpoints defines as percentages.

    Raises `Undecided` for anything else, for a missing or unknown dimension, for a score that is not a finite number
    within its scale, and for scores from 0 to 1 in a format of 0 to 100.
    """
    try:
        result = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Undecided(f"the VBench result is not JSON: {error}") from error
    if not isinstance(result, dict):
        raise _unknown_format()
    if isinstance(result.get("dimensions"), dict):
        return _with_dimensions(result["dimensions"], _videos(result.get("videos")), result.get("score"))
    if "accuracy_scores" in result:
        entry = _accuracy_entry(result["accuracy_scores"])
        videos = _scored_videos(entry)
        breakdown = entry.get("breakdown")
        if breakdown is None:
            score = 100 * _number("the score", entry.get("score"), 1)
            return VBenchResult(score, None, videos)
        subsets = breakdown.get("subset_scores") if isinstance(breakdown, dict) else None
        if isinstance(subsets, dict):
            return _with_dimensions(subsets, videos, entry.get("score"))
    elif result and all(isinstance(value, list) for value in result.values()):
        return _vbench_output(result)
    raise _unknown_format()


def mean(scores: Mapping[str, float]) -> float:
    return math.fsum(scores.values()) / len(scores)


def judge(result: VBenchResult, *, minimum: float, expected_videos: int) -> AuditResult:
    """All videos were scored, and the mean of the dimensions reaches the minimum."""
    score, dimensions, videos = result
    good, complete = score >= minimum, videos == expected_videos
    passed = good and complete
    explanation = [
        (
            f"The mean of six VBench dimensions is {score:.4f} on a scale of 0 to 100; at least {minimum:g} "
            f"is required. {videos} videos were scored; {expected_videos} are required."
        )
    ]
    if dimensions is None:
        explanation.append("The result does not state the scores of the dimensions.")
    if not complete:
        explanation.append("Next: score all videos of the dataset, and no others.")
    if not good and dimensions is not None:
        lowest = min(dimensions, key=lambda name: dimensions[name])
        explanation.append(f"The lowest dimension is {lowest}, {dimensions[lowest]:.2f}.")
    return AuditResult(
        passed=passed,
        reason=f"vbench_score {score:.4f} {'>=' if good else '<'} {minimum:g}; {videos}/{expected_videos} videos",
        explanation=" ".join(explanation),
        lines=(f"Accuracy check pass: {passed}", outcome_line(passed=passed)),
        labels=(Label.NO_BREAKDOWN,) if dimensions is None else (),
        details={
            "score": score,
            "minimum": minimum,
            "dimensions": None if dimensions is None else dict(dimensions),
            "videos": videos,
            "expected_videos": expected_videos,
        },
        metrics=scalars("points", vbench_score=score),
    )


def _with_dimensions(dimensions: Mapping[str, Any], videos: int, stated: object) -> VBenchResult:
    """A result whose scores are on a scale of 0 to 100, with the score that the file states, if any."""
    _check_dimensions(dimensions)
    scores = {name: _number(name, dimensions[name], 100) for name in DIMENSIONS}
    if max(scores.values()) <= 1:
        raise Undecided(
            "the scores of the VBench result are on a scale of 0 to 1, as VBench writes them, and this format is on "
            "0 to 100: multiply every score by 100, or give VBench's own file"
        )
    score = mean(scores)
    if stated is not None and abs(_number("the score", stated, 100) - score) > _AGREEMENT:
        raise Undecided(
            f"the VBench result states the score {stated}, but the mean of its dimensions is {score:.4f}"
        )
    return VBenchResult(score, scores, videos)


def _vbench_output(result: Mapping[str, list[Any]]) -> VBenchResult:
    """VBench's own file. A dimension may cover only some of the videos; the longest list has all of them."""
    _check_dimensions(result)
    scores = {}
    videos = 0
    for name in DIMENSIONS:
        score, *rest = result[name] or [None]
        scores[name] = 100 * _number(name, score, 1)
        if rest and isinstance(rest[0], list):
            videos = max(videos, len(rest[0]))
    return VBenchResult(mean(scores), scores, _videos(videos or None))


def _accuracy_entry(entries: object) -> Mapping[str, Any]:
    """The one entry of `accuracy_scores`, which is a list, or in older files a mapping by dataset."""
    listed = list(entries.values()) if isinstance(entries, dict) else entries
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise _unknown_format()
    return listed[0]


def _scored_videos(entry: Mapping[str, Any]) -> int:
    """The number of videos in the score. `total_samples` counts those that failed, too, which VBench does not score."""
    if entry.get("complete") is False:
        raise Undecided("the VBench result says that it is not complete")
    counts = entry.get("response_counts")
    return _videos(counts.get("scored") if isinstance(counts, dict) else entry.get("total_samples"))


def _unknown_format() -> Undecided:
    return Undecided(
        'the VBench result has an unknown format; expected {"dimensions": {name: score}, "videos": n}, VBench\'s own '
        "{name: [score, [per video, ...]]}, or an accuracy_results.json of mlcommons/endpoints with one entry"
    )


def _videos(count: object) -> int:
    if not isinstance(count, int) or isinstance(count, bool):
        raise Undecided("the VBench result does not say how many videos were scored")
    return count


def _check_dimensions(dimensions: Mapping[str, Any]) -> None:
    missing = [name for name in DIMENSIONS if name not in dimensions]
    unknown = sorted(dimensions.keys() - set(DIMENSIONS))
    if missing or unknown:
        raise Undecided(
            f"the VBench result lacks {', '.join(missing) or 'nothing'} and has the unknown dimensions "
            f"{', '.join(unknown) or '(none)'}; expected exactly {', '.join(DIMENSIONS)}"
        )


def _number(name: str, value: object, highest: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
        raise Undecided(f"{name} of the VBench result is {value!r}; expected a number from 0 to {highest}")
    return float(value)
