"""The words that suites may use and this room does not know: handed in by whoever loads a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_bench.suite.section import Section

BoundKind = Literal["perf", "eval", "slo"]
"""Where limits stand: on points of a kind, or on each request (`slo`)."""


@dataclass(frozen=True, slots=True)
class ApiWords:
    """What a suite needs to know of an API."""

    reference: str
    """Import reference `module:attribute`."""
    columns: Mapping[str, str]
    """Columns that a dataset row may have, each with what it means."""
    required: frozenset[str]
    """Columns of which a row must have at least one."""
    streaming: bool
    """Whether a request may ask for a stream."""
    video_seconds: float | None = None
    """Length of a video of which nothing else is said; None for an API that delivers no videos."""


@dataclass(frozen=True, slots=True)
class AuditWords:
    """What a suite needs to know of an audit."""

    fields: type[Section]
    """The audit's own fields: keys of its point beside `test`, `of`, `dataset`, `load` and the like."""
    patterns: frozenset[str]
    """Load patterns that can show the effect the audit looks for."""


UnitOf = Callable[[str], str]
"""Base unit of a metric with its statistic (`time_to_first_token.p99` -> `ns`). Raises `UsageError`, with the
nearest valid name, for one that does not exist."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything floor 4 hands in."""

    apis: Mapping[str, ApiWords]
    unit_of: Mapping[BoundKind, UnitOf]
    check_simulator: Callable[[Mapping[str, Any]], object]
    """Raises `UsageError` for a behaviour that the simulator does not have."""
    audits: Mapping[str, AuditWords] = field(default_factory=dict)
    eval_fields: type[Section] | None = None
    """An eval's own fields; None: this installation runs no evals."""
