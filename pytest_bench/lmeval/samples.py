"""Scores held against the samples that they were made of, where lm-eval was told to keep them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, STRICT_JSON, read_plain
from pytest_bench.lmeval.findings import Finding, excerpt, fail
from pytest_bench.lmeval.folder import ResultFile
from pytest_bench.lmeval.scores import Score

_MEANS = frozenset({"exact_match", "acc", "acc_norm"})
"""Metrics that lm-eval aggregates as the mean over samples: these can be worked out again."""

_ROUNDING = 1e-9


def findings_of_recomputing(folder: Path, result: ResultFile, scores: Sequence[Score]) -> Iterator[Finding]:
    """Whether the samples of each score give it again; nothing is said of a score whose samples were not kept."""
    for score in scores:
        metric, _, filter_name = score.metric.partition(",")
        for path in _samples_of(folder, result, score.task) if metric in _MEANS else ():
            name = path.name if path.name.isprintable() else ascii(path.name)
            if path.is_symlink():
                yield fail(name, "", "is a link, which evidence never holds")
                continue
            try:
                values = list(_values(path, metric, filter_name))
            except EvidenceError as error:
                yield fail(name, "", str(error))
                continue
            mean = math.fsum(values) / len(values) if values else None
            if mean is None or abs(mean - score.value) > _ROUNDING:
                yield fail(
                    score.file,
                    f"results.{score.task}.{score.metric}",
                    f"is {score.value}; its {len(values)} samples in {name} give {mean}",
                )


def _samples_of(folder: Path, result: ResultFile, task: str) -> list[Path]:
    """`samples_<task>_<time>.jsonl` beside the result, with the same suffix; task names may begin alike."""
    suffix = f"_conc{result.concurrency}" if result.concurrency else ""
    start, end = f"samples_{task}_", f"{suffix}.jsonl"
    beside = (folder / result.name).parent
    try:
        names = sorted(entry.name for entry in beside.iterdir())
    except OSError:
        return []
    return [
        beside / name
        for name in names
        if name.startswith(start) and name.endswith(end) and name[len(start) :][:2].isdecimal()
    ]


def _values(path: Path, metric: str, filter_name: str) -> Iterator[float]:
    """A metric of every sample under one filter. Raises `EvidenceError` naming the line."""
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
        if sample.get("filter", filter_name) == filter_name:
            value = sample.get(metric)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise EvidenceError(
                    f"line {number}: {metric} is {excerpt(value)}; expected a number from 0 to 1"
                )
            yield float(value)
