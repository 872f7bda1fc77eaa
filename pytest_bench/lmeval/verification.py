"""Apply all rules to one folder and collect every problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pytest_bench.lmeval.concurrencies import findings_of_concurrencies
from pytest_bench.lmeval.findings import Finding
from pytest_bench.lmeval.folder import METADATA, Folder, read_folder
from pytest_bench.lmeval.metadata import EVAL_STATUS, findings_of_metadata, findings_of_model, model_prefix
from pytest_bench.lmeval.request import Request
from pytest_bench.lmeval.samples import findings_of_recomputing, findings_of_unclaimed
from pytest_bench.lmeval.scores import (
    Score,
    findings_of_age,
    findings_of_difference,
    findings_of_models,
    findings_of_run,
    findings_of_samples,
    findings_of_scores,
    read_scores,
)


class Checked(NamedTuple):
    """A score and the threshold that it was compared with."""

    score: Score
    threshold: float
    source: str


@dataclass(frozen=True)
class Verification:
    """What a folder amounts to: good where there are no findings."""

    findings: tuple[Finding, ...]
    checked: tuple[Checked, ...]
    """Every score that had a threshold."""
    notes: tuple[str, ...] = ()
    """What was accepted without proof."""


def verify_folder(path: Path, request: Request) -> Verification:
    """Compare a folder with what was requested. Returns whatever the files hold, and never raises because of them."""
    return judge(read_folder(path), request)


def judge(folder: Folder, request: Request) -> Verification:
    """`verify_folder` for a folder that was read. Only samples and declared artifacts are still read from disk."""
    findings = list(folder.findings)
    metadata = folder.metadata
    if metadata is not None:
        findings += findings_of_metadata(metadata, folder.path, allow_missing=request.allow_missing)
    findings += findings_of_concurrencies(folder, request)
    asked = request.concurrencies or ()
    by_file: dict[str, list[Score]] = {}
    prefix = request.model_prefix or model_prefix(metadata)
    named = request.thresholds.names(prefix)
    if metadata is not None:
        findings += findings_of_model(metadata, request.model)
    model = request.model or (metadata or {}).get("model")
    if not (isinstance(model, str) and model):
        findings += findings_of_models(folder.results)
    for result in folder.results:
        stands_for = result.concurrency if result.has_suffix else asked[0] if len(asked) == 1 else None
        findings += findings_of_run(result, stands_for, model)
        findings += findings_of_samples(result, request)
        findings += findings_of_age(result, request)
        by_file[result.name] = read_scores(result, request.metric_prefix, named, findings)
        findings += findings_of_recomputing(folder.path, result, by_file[result.name])
    scores = [score for found in by_file.values() for score in found]
    findings += findings_of_scores(scores, request, prefix)
    findings += findings_of_difference(by_file)
    findings += findings_of_unclaimed(folder.path, folder.results)
    checked = tuple(
        Checked(score, *found)
        for score in scores
        if (found := request.thresholds.of(prefix, score.task, request.min_score)) is not None
    )
    return Verification(
        findings=tuple(dict.fromkeys(findings)), checked=checked, notes=tuple(_notes(metadata, request))
    )


def _notes(metadata: Mapping[str, Any] | None, request: Request) -> Iterator[str]:
    if metadata is not None and EVAL_STATUS not in metadata and EVAL_STATUS in request.allow_missing:
        yield (
            f"{METADATA}: {EVAL_STATUS} is missing, which --allow-missing accepts: it is not proven that the eval "
            "ended successfully"
        )
