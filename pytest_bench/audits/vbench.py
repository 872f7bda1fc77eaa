"""A VBench result, made elsewhere, accepted as evidence.

MLPerf scores WAN2.2 by the mean of six VBench dimensions on a scale of 0 to 100; the gate is 99 % of the
reference's 70.48. VBench itself writes 0 to 1, which no gate on 0 to 100 can judge, so the scale is checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, final

from pydantic import Field

from pytest_bench.audits.contract import (
    AuditFields,
    AuditPlan,
    AuditResult,
    Findings,
    Setting,
    Undecided,
)
from pytest_bench.metrics.measurement import Metric
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
"""Of a stated score with the mean of its dimensions, which are written rounded to two digits."""


class VBenchFields(AuditFields):
    """Whether the videos are good enough, by a VBench result that was made elsewhere."""

    result: Text
    """The result file, relative to this suite's folder."""
    minimum: Annotated[float, Field(gt=1, le=100)] = 69.7752
    """Least mean of the six dimensions, on a scale of 0 to 100; equal passes."""
    videos: Count = 248
    """Videos that must have been scored; MLPerf's dataset has 248 prompts."""


@final
class VBench:
    """No phase of its own: a file, checked for scale and completeness."""

    id: ClassVar[str] = "vbench"
    artifact: ClassVar[str] = "vbench_accuracy"
    fields: ClassVar[type[AuditFields]] = VBenchFields
    patterns: ClassVar[frozenset[str]] = frozenset(
        {"burst", "concurrency", "constant", "poisson", "gamma", "trace", "stages"}
    )

    def plan(self, setting: Setting) -> AuditPlan:
        return AuditPlan(phases=(), files={RESULT: setting.folder / setting.fields(VBenchFields).result})

    def validate(self, setting: Setting) -> None:
        """Nothing beyond what holds for every audit."""

    def verify(self, setting: Setting, findings: Findings) -> AuditResult:
        fields = setting.fields(VBenchFields)
        scores, videos = read_result(findings.files[RESULT])
        return judge(scores, videos, minimum=fields.minimum, expected_videos=fields.videos)


def read_result(data: bytes) -> tuple[dict[str, float], int]:
    """Score by dimension, 0 to 100, and the number of videos that were scored.

    Reads an object `{"dimensions": {name: score}, "videos": n}` and the `accuracy_results.json` of
    mlcommons/endpoints, whose one entry of `accuracy_scores` has a score, `total_samples` and a breakdown by
    dimension. Raises `Undecided` for anything else, for a dimension that is missing or unknown, for a score
    that is no finite number within 0 to 100, and for scores that are on a scale of 0 to 1.
    """
    try:
        result = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Undecided(f"the VBench result is not JSON: {error}") from error
    dimensions, videos, stated = _parts(result)
    _check_dimensions(dimensions)
    scores = {name: _score(name, dimensions[name]) for name in DIMENSIONS}
    if max(scores.values()) <= 1:
        raise Undecided(
            "the VBench result is on a scale of 0 to 1, as VBench writes it, and the gate is on 0 to 100: "
            "multiply every score by 100"
        )
    if stated is not None and abs(_score("the score", stated) - mean(scores)) > _AGREEMENT:
        raise Undecided(
            f"the VBench result says {stated}, but its dimensions have a mean of {mean(scores):.4f}"
        )
    if not isinstance(videos, int) or isinstance(videos, bool):
        raise Undecided("the VBench result does not say how many videos were scored")
    return scores, videos


def mean(scores: Mapping[str, float]) -> float:
    return math.fsum(scores.values()) / len(scores)


def judge(scores: Mapping[str, float], videos: int, *, minimum: float, expected_videos: int) -> AuditResult:
    """All videos were scored, and the mean of the dimensions reaches the minimum."""
    score = mean(scores)
    good, complete = score >= minimum, videos == expected_videos
    passed = good and complete
    said = [
        (
            f"The mean of six VBench dimensions is {score:.4f} on a scale of 0 to 100, where at least {minimum:g} "
            f"is required, over {videos} videos, where {expected_videos} are."
        )
    ]
    if not complete:
        said.append("Next: score all videos of the dataset, and no others.")
    if not good:
        lowest = min(scores, key=lambda name: scores[name])
        said.append(f"The lowest dimension is {lowest}, {scores[lowest]:.2f}.")
    return AuditResult(
        passed=passed,
        reason=f"vbench_score {score:.4f} {'>=' if good else '<'} {minimum:g}; {videos}/{expected_videos} videos",
        explanation=" ".join(said),
        lines=(f"Accuracy check pass: {passed}", "TEST PASS" if passed else "TEST FAIL"),
        details={
            "score": score,
            "minimum": minimum,
            "dimensions": dict(scores),
            "videos": videos,
            "expected_videos": expected_videos,
        },
        metrics={"vbench_score": Metric(unit="points", kind="scalar", value=score)},
    )


def _parts(result: object) -> tuple[Mapping[str, Any], object, object]:
    """Dimensions, number of videos, and the score that the file states, where it states one."""
    if isinstance(result, dict) and isinstance(result.get("dimensions"), dict):
        return result["dimensions"], result.get("videos"), result.get("score")
    entries = result.get("accuracy_scores") if isinstance(result, dict) else None
    if isinstance(entries, dict):
        entries = list(entries.values())
    if isinstance(entries, list) and len(entries) == 1 and isinstance(entries[0], dict):
        entry = entries[0]
        breakdown = entry.get("breakdown")
        subsets = breakdown.get("subset_scores") if isinstance(breakdown, dict) else None
        if isinstance(subsets, dict):
            return subsets, entry.get("total_samples"), entry.get("score")
    raise Undecided(
        'the VBench result has neither {"dimensions": {name: score}, "videos": n} nor one entry of '
        "accuracy_scores with a breakdown by dimension; expected one of them"
    )


def _check_dimensions(dimensions: Mapping[str, Any]) -> None:
    missing = [name for name in DIMENSIONS if name not in dimensions]
    unknown = sorted(dimensions.keys() - set(DIMENSIONS))
    if missing or unknown:
        raise Undecided(
            f"the VBench result lacks {', '.join(missing) or 'nothing'} and has "
            f"{', '.join(unknown) or 'nothing'} besides; expected exactly {', '.join(DIMENSIONS)}"
        )


def _score(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise Undecided(f"{name} of the VBench result is {value!r}; expected a number from 0 to 100")
    return float(value)
