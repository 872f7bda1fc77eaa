"""Recompute scores from the samples that lm-eval kept."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, STRICT_JSON, read_plain
from pytest_bench.lmeval.findings import Finding, excerpt, fail
from pytest_bench.lmeval.folder import SUFFIX, TIME, ResultFile, is_plain
from pytest_bench.lmeval.scores import Score
from pytest_bench.wording import first_of, shown_name

_MEANS = frozenset({"exact_match", "acc", "acc_norm"})
"""Metrics that lm-eval aggregates as the mean over samples."""
_ROUNDING = 1e-9
_SHOWN = 5
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_{TIME}(?P<suffix>(?:{SUFFIX})?)\.jsonl", re.ASCII | re.DOTALL)

Samples = Mapping[str, Sequence[Mapping[str, Any]]]
"""Samples by the name of their filter."""


def findings_of_recomputing(folder: Path, result: ResultFile, scores: Sequence[Score]) -> Iterator[Finding]:
    """Whether each score is the mean over its samples. A score whose samples were not kept is not checked."""
    for task in dict.fromkeys(score.task for score in scores):
        own = [score for score in scores if score.task == task]
        external = [score for score in own if _is_external(result, score)]
        for score in external:
            yield from _external(result, score)
        files = samples_of(folder, result, task)
        if len(files) > 1:
            names = first_of([shown_name(path.name) for path in files], _SHOWN)
            yield fail(
                result.name, f"results.{task}", f"has {len(files)} files of samples: {names}; expected one"
            )
        for path in files:
            judged = [score for score in own if score not in external]
            yield from _recomputed(path, result, task, judged)


def findings_of_unclaimed(folder: Path, results: Sequence[ResultFile]) -> Iterator[Finding]:
    """Whether every file of samples belongs to a task of a result: otherwise the result lost a task."""
    claimed = {
        path
        for result in results
        if isinstance(tasks := result.data.get("results"), dict)
        for task in tasks
        for path in samples_of(folder, result, task)
    }
    for parent in dict.fromkeys((folder / result.name).parent for result in results):
        for path in _entries(parent):
            if _SAMPLES.fullmatch(path.name) and path not in claimed:
                yield fail(shown_name(path.name), "", "holds samples of a task that no result file has")


def samples_of(folder: Path, result: ResultFile, task: str) -> list[Path]:
    """The files `samples_<task>_<time>.jsonl` beside the result that have its suffix."""
    return [
        path
        for path in _entries((folder / result.name).parent)
        if (match := _SAMPLES.fullmatch(path.name))
        and match["task"] == task
        and match["suffix"] == result.suffix
    ]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _recomputed(path: Path, result: ResultFile, task: str, scores: Sequence[Score]) -> Iterator[Finding]:
    name = shown_name(path.name)
    if not is_plain(path):
        yield fail(name, "", "is not a regular file; evidence must hold regular files")
        return
    try:
        samples = read_samples(path, filters_of(result, task))
    except EvidenceError as error:
        yield fail(name, "", str(error))
        return
    for score in scores:
        metric, _, filter_name = score.metric.partition(",")
        if metric not in _MEANS:
            continue
        field = f"results.{task}.{score.metric}"
        own = samples.get(filter_name)
        if own is None:
            found = first_of([excerpt(other) for other in samples], _SHOWN) or "none"
            yield fail(
                result.name,
                field,
                f"cannot be recomputed: {name} holds samples of the filters {found}, and none of {filter_name!r}",
            )
            continue
        try:
            values = [_value(sample, metric) for sample in own]
        except EvidenceError as error:
            yield fail(name, "", str(error))
            continue
        mean = math.fsum(values) / len(values)
        if abs(mean - score.value) > _ROUNDING:
            yield fail(
                result.name, field, f"is {score.value}; its {len(values)} samples in {name} give {mean}"
            )
        effective = _effective(result, task)
        if effective is not None and len(values) != effective:
            yield fail(
                result.name,
                field,
                f"has {len(values)} samples in {name}; n-samples.{task}.effective is {effective}",
            )


def read_samples(path: Path, filters: Sequence[str]) -> Samples:
    """The samples of a file by filter. Raises `EvidenceError`, which names the line.

    lm-eval before 0.4.7 does not write which filter a sample belongs to. It writes all samples of one filter before
    those of the next, in the order of the task's `filter_list`, in each of its processes. The n-th sample of a
    document therefore belongs to the n-th of `filters`; every document must have one for each.
    """
    named: dict[str, list[Mapping[str, Any]]] = {}
    unnamed: dict[str, list[Mapping[str, Any]]] = {name: [] for name in filters}
    seen: Counter[object] = Counter()
    for number, sample in _lines(path):
        if "filter" in sample:
            if not isinstance(sample["filter"], str):
                raise EvidenceError(f"line {number}: filter is {excerpt(sample['filter'])}; expected text")
            named.setdefault(sample["filter"], []).append(sample)
            continue
        if not filters:
            raise EvidenceError(
                _inseparable(
                    number, "does not name its filter, and the result does not list the task's filters"
                )
            )
        document = sample.get("doc_id")
        if not isinstance(document, int | str):
            raise EvidenceError(_inseparable(number, "names neither its filter nor its doc_id"))
        if seen[document] == len(filters):
            raise EvidenceError(
                _inseparable(
                    number, f"is one too many of doc_id {document!r}: the task has {len(filters)} filters"
                )
            )
        unnamed[filters[seen[document]]].append(sample)
        seen[document] += 1
    short = next((document for document, count in seen.items() if count < len(filters)), None)
    if short is not None:
        raise EvidenceError(
            f"has {seen[short]} samples of doc_id {short!r}, and the task has {len(filters)} filters: without a field "
            "`filter` the samples cannot be told apart"
        )
    if named and seen:
        raise EvidenceError("has a field `filter` on some lines only: the samples cannot be told apart")
    return named or (unnamed if seen else {})


def _inseparable(number: int, what: str) -> str:
    return f"line {number} {what}: the samples cannot be told apart by filter"


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = read_plain(path, LARGEST_JSON).split(b"\n")
    except OSError as error:
        raise EvidenceError(f"cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample = STRICT_JSON.decode(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise EvidenceError(f"line {number} is not strict JSON: {error}") from error
        if not isinstance(sample, dict):
            raise EvidenceError(f"line {number} is {excerpt(sample)}; expected an object")
        yield number, sample


def _value(sample: Mapping[str, Any], metric: str) -> float:
    value = sample.get(metric)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        document = excerpt(sample.get("doc_id"))
        raise EvidenceError(f"doc_id {document}: {metric} is {excerpt(value)}; expected a number from 0 to 1")
    return float(value)


def filters_of(result: ResultFile, task: str) -> list[str]:
    """The filters of a task in the order in which lm-eval applies them; empty if the order is not known."""
    configs = result.data.get("configs")
    config = configs.get(task) if isinstance(configs, dict) else None
    listed = config.get("filter_list") if isinstance(config, dict) else None
    if isinstance(listed, list) and listed:
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in listed]
        return [name for name in names if isinstance(name, str)] if all(names) else []
    results = result.data.get("results")
    metrics = results.get(task) if isinstance(results, dict) else None
    keys = (name.partition(",") for name in metrics) if isinstance(metrics, dict) else ()
    applied = list(
        dict.fromkeys(name for metric, comma, name in keys if comma and not metric.endswith("_stderr"))
    )
    return applied if len(applied) == 1 else []


def _effective(result: ResultFile, task: str) -> int | None:
    counts = result.data.get("n-samples")
    own = counts.get(task) if isinstance(counts, dict) else None
    effective = own.get("effective") if isinstance(own, dict) else None
    return effective if type(effective) is int else None


def _is_external(result: ResultFile, score: Score) -> bool:
    """Whether SWE-bench's own harness made the score: the samples of lm-eval then hold a placeholder."""
    return score.metric == "exact_match,resolved" and "swebench" in result.data


def _external(result: ResultFile, score: Score) -> Iterator[Finding]:
    """Whether a score of SWE-bench is the share of resolved instances that the file counts."""
    counts = result.data["swebench"]
    resolved, total = (
        (counts.get("resolved"), counts.get("total")) if isinstance(counts, dict) else (None, None)
    )
    if type(resolved) is not int or type(total) is not int or not 0 <= resolved <= total or total == 0:
        yield fail(result.name, "swebench", f"is {excerpt(counts)}; expected counts `resolved` and `total`")
    elif abs(resolved / total - score.value) > _ROUNDING or total != _effective(result, score.task):
        yield fail(
            result.name,
            f"results.{score.task}.{score.metric}",
            f"is {score.value} of {_effective(result, score.task)} items; swebench counts {resolved} of {total} as "
            "resolved",
        )
