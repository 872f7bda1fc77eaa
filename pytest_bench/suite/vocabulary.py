"""The names that suites may use, passed in by the caller that loads a plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_bench.suite.section import Section

BoundKind = Literal["perf", "eval", "slo"]
"""What a limit applies to: points of a kind, or each request (`slo`)."""


@dataclass(frozen=True, slots=True)
class ApiWords:
    """The properties of an API that suites depend on."""

    reference: str
    """Import reference `module:attribute`."""
    columns: Mapping[str, str]
    """Columns that a dataset row may have, each with its meaning."""
    required: frozenset[str]
    """Columns of which a row must have at least one."""
    streaming: bool
    """Whether a request may ask for a stream."""
    video_seconds: float | None = None
    """Default length of a video; None for an API that delivers no videos."""


@dataclass(frozen=True, slots=True)
class AuditWords:
    """The properties of an audit that suites depend on."""

    fields: type[Section]
    """The audit's own fields, in addition to `test`, `of`, `dataset`, `load` and the like."""
    patterns: frozenset[str]
    """Load patterns under which the audit can detect its effect."""


UnitOf = Callable[[str], str]
"""Returns the base unit of a metric with its statistic (`time_to_first_token.p99` -> `ns`). Raises `UsageError`,
with the nearest valid name, if there is none."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Every name that a suite may use."""

    apis: Mapping[str, ApiWords]
    unit_of: Mapping[BoundKind, UnitOf]
    check_simulator: Callable[[Mapping[str, Any]], object]
    """Raises `UsageError` for a behaviour that the simulator does not support."""
    metrics: Mapping[BoundKind, Mapping[str, str]] = field(default_factory=dict)
    """Base unit of every metric that may be limited, by the full name that `unit_of` accepts. Only the JSON Schema uses
    it; if it is empty, the schema accepts any name."""
    meanings: Mapping[str, str] = field(default_factory=dict)
    """The meaning of each of these metrics, for the JSON Schema."""
    audits: Mapping[str, AuditWords] = field(default_factory=dict)
    eval_metrics: Callable[[Section], Collection[str]] | None = None
    """The metrics of an eval that bounds may name, given its section; None: any that `unit_of` accepts."""
    eval_fields: type[Section] | None = None
    """The own fields of an eval; None if this installation runs no evals."""
    validation_context: object = None
    """What the validators of `eval_fields` and of audits' fields may read: the scorers."""
