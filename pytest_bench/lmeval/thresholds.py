"""How good scores must be, per model and task.

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
    """Minimum scores."""

    default: Mapping[str, float] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    flat: bool = False
    """`default` was the whole file: what the eval is to hold, and no table for many evals."""

    def of(self, prefix: str | None, task: str, min_score: float | None) -> tuple[float, str] | None:
        """The threshold of a task and where it stands, most specific first; None where there is none."""
        own = self._own(prefix)
        if task in own:
            return own[task], f"models.{prefix}.{task}"
        if task in self.default:
            return self.default[task], f"default.{task}"
        return None if min_score is None else (min_score, "--min-score")

    def names(self, prefix: str | None) -> frozenset[str]:
        """Tasks and groups that have a threshold of their own."""
        return frozenset(self.default) | frozenset(self._own(prefix))

    def required(self, prefix: str | None) -> Iterator[tuple[str, str]]:
        """Names that the results must hold, and where each stands: those given for this very model or eval."""
        yield from ((task, f"models.{prefix}.{task}") for task in self._own(prefix))
        if self.flat:
            yield from ((task, task) for task in self.default)

    def _own(self, prefix: str | None) -> Mapping[str, float]:
        return self.models.get(prefix, {}) if prefix else {}


def read_thresholds(path: Path) -> tuple[Thresholds, list[Finding]]:
    """Thresholds, and everything that is wrong with the file; then they are empty."""
    try:
        raw = _read_yaml(path) if path.suffix in {".yaml", ".yml"} else read_json(path)
    except EvidenceError as problem:
        return Thresholds(), [error(str(path), "", str(problem).removeprefix(f"{path}: "))]
    findings = list(_findings(str(path), raw))
    if findings:
        return Thresholds(), findings
    if not _SECTIONS & raw.keys():
        return Thresholds(default=raw, flat=True), []
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
    """Raises `EvidenceError` for anything but one strict document without repeated keys."""
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
    """`known` are nodes looked at already, by identity: anchors may name one very often."""
    if id(node) in known:
        return
    known.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise EvidenceError(f"{path}: has a key that is no text: {excerpt(key.value)}")
            if key.value in seen:
                raise EvidenceError(f"{path}: repeats the key {excerpt(key.value)}")
            seen.add(key.value)
            _refuse_repeated_keys(path, value, known)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _refuse_repeated_keys(path, part, known)
