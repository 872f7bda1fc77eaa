"""Minimum scores per model and task.

    {"default": {"gsm8k": 0.85}, "models": {"dsr1": {"gsm8k": 0.93}}}

or flat, `{"gsm8k": 0.85}`, for every model. JSON, or YAML in a file named `*.yaml` or `*.yml`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json, read_plain
from pytest_bench.lmeval.findings import Finding, error, excerpt

_LARGEST_YAML = 1 << 20
_SECTIONS = frozenset({"default", "models"})


@dataclass(frozen=True)
class Thresholds:
    """Minimum scores. A table may serve many evals: a task that it lists is not thereby required."""

    default: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, prefix: str | None, task: str, min_score: float | None) -> tuple[float, str] | None:
        """The most specific threshold of a task and its source; None if there is none."""
        own = self._own(prefix)
        if task in own:
            return own[task], f"models.{prefix}.{task}"
        if task in self.default:
            return self.default[task], f"default.{task}"
        return None if min_score is None else (min_score, "--min-score")

    def names(self, prefix: str | None) -> frozenset[str]:
        """Tasks and groups that have a threshold of their own."""
        return frozenset(self.default) | frozenset(self._own(prefix))

    def _own(self, prefix: str | None) -> Mapping[str, float]:
        return self.models.get(prefix, {}) if prefix else {}


def read_thresholds(path: Path) -> tuple[Thresholds, list[Finding]]:
    """The thresholds in a file and its problems. The thresholds are empty if there is a problem."""
    try:
        raw = _read_yaml(path) if path.suffix in {".yaml", ".yml"} else read_json(path)
    except EvidenceError as problem:
        return Thresholds(), [error(str(path), "", str(problem).removeprefix(f"{path}: "))]
    findings = list(_findings(str(path), raw))
    if findings:
        return Thresholds(), findings
    if not _SECTIONS & raw.keys():
        return Thresholds(default=raw), []
    return Thresholds(default=raw.get("default", {}), models=raw.get("models", {})), []


def _findings(file: str, raw: object) -> Iterator[Finding]:
    if not isinstance(raw, dict) or not raw:
        yield error(file, "", f"expected a mapping of tasks to minimum scores, found {excerpt(raw)}")
        return
    if not _SECTIONS & raw.keys():
        yield from _task_findings(file, "", raw)
        return
    for key in raw.keys() - _SECTIONS:
        yield error(file, excerpt(key), "unknown key; expected `default` and `models`")
    yield from _task_findings(file, "default", raw.get("default", {}))
    models = raw.get("models", {})
    if not isinstance(models, dict):
        yield error(file, "models", f"expected a mapping of model prefixes to tasks, found {excerpt(models)}")
        return
    for prefix, tasks in models.items():
        yield from _task_findings(file, f"models.{prefix}", tasks)


def _task_findings(file: str, section: str, tasks: object) -> Iterator[Finding]:
    if not isinstance(tasks, dict):
        yield error(file, section, f"expected a mapping of tasks to minimum scores, found {excerpt(tasks)}")
        return
    for task, value in tasks.items():
        name = f"{section}.{task}" if section else str(task)
        if not isinstance(task, str):
            yield error(file, name, "a task's name must be text")
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
            or not 0 <= value <= 1
        ):
            yield error(file, name, f"is {excerpt(value)}; expected a number from 0 to 1")


def _read_yaml(path: Path) -> Any:
    """Read one YAML document without repeated keys. Raises `EvidenceError`."""
    try:
        text = read_plain(path, _LARGEST_YAML).decode("utf-8")
        _refuse_repeated_keys(path, yaml.compose(text, Loader=yaml.SafeLoader), set())
        return yaml.safe_load(text)
    except OSError as problem:
        raise EvidenceError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    except RecursionError as problem:
        raise EvidenceError(f"{path}: is nested too deeply") from problem
    except (yaml.YAMLError, ValueError) as problem:
        raise EvidenceError(f"{path}: is not YAML: {' '.join(str(problem).split())}") from problem


def _refuse_repeated_keys(path: Path, node: yaml.Node | None, known: set[int]) -> None:
    """`known` holds the identities of visited nodes: aliases may refer to one node many times."""
    if id(node) in known:
        return
    known.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise EvidenceError(f"{path}: has a key that is not text: {excerpt(key.value)}")
            if key.value in seen:
                raise EvidenceError(f"{path}: repeats the key {excerpt(key.value)}")
            seen.add(key.value)
            _refuse_repeated_keys(path, value, known)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _refuse_repeated_keys(path, part, known)
