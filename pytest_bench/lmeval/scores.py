"""Scores of a result file, and the samples that they were made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, STRICT_JSON, read_plain
from pytest_bench.lmeval.report import Problem, Score, show
from pytest_bench.lmeval.results import ResultFile
from pytest_bench.lmeval.thresholds import Thresholds, is_share

MEANS = frozenset({"exact_match", "acc", "acc_norm"})
"""Metrics that lm-eval aggregates as the mean over samples: these can be recomputed."""

_ROUNDING = 1e-9


def tasks_of(file: ResultFile, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    """What the file says of each task. A group is left out: its members stand for it."""
    results = file.content.get("results")
    if not isinstance(results, dict):
        problems.append(Problem(file.name, "results", f"is {show(results)}; expected an object of tasks"))
        return {}
    groups = file.content.get("group_subtasks", {})
    if not isinstance(groups, dict):
        problems.append(Problem(file.name, "group_subtasks", f"is {show(groups)}; expected an object"))
        groups = {}
    tasks: dict[str, dict[str, Any]] = {}
    for task, metrics in results.items():
        members = groups.get(task)
        if isinstance(members, list) and members:
            problems.extend(
                Problem(
                    file.name, f"group_subtasks.{_safe(task)}", f"has {show(member)}, which has no results"
                )
                for member in members
                if not isinstance(member, str) or member not in results
            )
        elif isinstance(metrics, dict):
            tasks[task] = metrics
        else:
            problems.append(
                Problem(file.name, f"results.{_safe(task)}", f"is {show(metrics)}; expected an object")
            )
    return tasks


def checked_metrics(metrics: Mapping[str, Any], prefix: str) -> list[str]:
    """The metrics that count: `<metric>,<filter>` beginning with `prefix`, without standard errors."""
    return [
        name
        for name in metrics
        if name.startswith(prefix) and "," in name and not name.partition(",")[0].endswith("_stderr")
    ]


def read_scores(
    file: ResultFile, task: str, metrics: Mapping[str, Any], prefix: str, problems: list[Problem]
) -> Iterator[Score]:
    """The checked scores of a task, which are numbers within their range; thresholds are not looked at."""
    names = checked_metrics(metrics, prefix)
    if not names:
        problems.append(
            Problem(
                file.name, f"results.{_safe(task)}", f"has no metric that begins with {prefix!r} to check"
            )
        )
    for name in names:
        field, value = f"results.{_safe(task)}.{_safe(name)}", metrics[name]
        stderr = _stderr(file, task, name, metrics, problems)
        if not is_share(value):
            problems.append(Problem(file.name, field, f"is {show(value)}; expected a number from 0 to 1"))
            continue
        if not _higher_is_better(file, task, name):
            problems.append(
                Problem(
                    file.name, field, "is better when lower, by higher_is_better: no least score can judge it"
                )
            )
        yield Score(
            file=file.name,
            conc=file.conc,
            task=task,
            metric=name,
            value=float(value),
            stderr=stderr,
            threshold=None,
            source=None,
            recomputed=False,
        )


def judge(
    score: Score, thresholds: Thresholds, prefix: str | None, min_score: float | None
) -> tuple[Score, Problem | None]:
    """The score beside its threshold; a problem where it is below, or where there is none."""
    field = f"results.{_safe(score.task)}.{_safe(score.metric)}"
    found = thresholds.find(score.task, prefix, min_score)
    if found is None:
        return score, Problem(
            score.file, field, f"is {score.value!r}, and no threshold says what is expected of this task"
        )
    threshold, source = found
    judged = Score(
        **{
            name: getattr(score, name)
            for name in score.__struct_fields__
            if name not in {"threshold", "source"}
        },
        threshold=threshold,
        source=source,
    )
    if score.value < threshold:
        return judged, Problem(
            score.file, field, f"is {score.value!r}; expected at least {threshold!r} ({source})"
        )
    return judged, None


def sample_files(folder: Path, file: ResultFile, task: str, *, batch: bool) -> list[Path]:
    """The samples of one task in one result file; none where they were not kept."""
    ending = f"_conc{file.conc}.jsonl" if batch else ".jsonl"
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.name.startswith(f"samples_{task}_") and path.name.endswith(ending)
        )
    except OSError:
        return []


def mean_of_samples(path: Path, metric: str, filter_name: str) -> tuple[float, int] | None:
    """Mean of a metric over the samples of one filter, and how many there are; None where none has it.

    Raises `EvidenceError` naming file and line.
    """
    values: list[float] = []
    try:
        lines = read_plain(path, LARGEST_JSON).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise EvidenceError(f"cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            sample = STRICT_JSON.decode(line)
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"line {number} is no JSON: {error}") from error
        if not isinstance(sample, dict):
            raise EvidenceError(f"line {number} is no object")
        if sample.get("filter", filter_name) == filter_name and metric in sample:
            value = sample[metric]
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise EvidenceError(f"line {number}: {metric} is {show(value)}; expected a number")
            values.append(float(value))
    return (math.fsum(values) / len(values), len(values)) if values else None


def check_samples(
    folder: Path, score: Score, file: ResultFile, *, batch: bool
) -> tuple[bool, Problem | None]:
    """Whether the samples give the score again; (False, None) where there are none to tell."""
    metric, _, filter_name = score.metric.partition(",")
    paths = sample_files(folder, file, score.task, batch=batch)
    if metric not in MEANS or not paths:
        return False, None
    path = paths[-1]
    try:
        found = mean_of_samples(path, metric, filter_name)
    except EvidenceError as error:
        return False, Problem(_safe(path.name), "", str(error))
    if found is None:
        return False, Problem(
            _safe(path.name), metric, f"no sample has it under the filter {show(filter_name)}"
        )
    mean, count = found
    if abs(mean - score.value) > _ROUNDING:
        return False, Problem(
            score.file,
            f"results.{_safe(score.task)}.{_safe(score.metric)}",
            f"is {score.value!r}, but the {count} samples in {_safe(path.name)} give {mean!r}",
        )
    return True, None


def _stderr(
    file: ResultFile, task: str, name: str, metrics: Mapping[str, Any], problems: list[Problem]
) -> float | None:
    metric, _, filter_name = name.partition(",")
    key = f"{metric}_stderr,{filter_name}"
    value = metrics.get(key)
    if value is None or value == "N/A":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e300:
        field = f"results.{_safe(task)}.{_safe(key)}"
        problems.append(Problem(file.name, field, f'is {show(value)}; expected a number from 0 up, or "N/A"'))
        return None
    return float(value)


def _higher_is_better(file: ResultFile, task: str, name: str) -> bool:
    said = file.content.get("higher_is_better")
    of_task = said.get(task) if isinstance(said, dict) else None
    return not (isinstance(of_task, dict) and of_task.get(name.partition(",")[0]) is False)


def _safe(name: str) -> str:
    return name if name.isprintable() else ascii(name)
