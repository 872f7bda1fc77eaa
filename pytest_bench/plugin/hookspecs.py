"""Hooks for other plugins and for a project's `conftest.py`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_bench.audits.contract import AuditTest
    from pytest_bench.scoring import Scoring


def pytest_bench_apis() -> Mapping[str, str]:  # type: ignore[empty-body] # a specification has no body
    """Return APIs: a mapping from the name that suites use to an import reference `module:attribute` of a class that
    implements `pytest_bench.api.Api`. Load workers import the module too: keep its imports few."""


def pytest_bench_audits() -> Iterable[AuditTest]:  # type: ignore[empty-body] # a specification has no body
    """Return audits: objects that implement `pytest_bench.audits.contract.AuditTest`, one for each `test` name that
    suites may use."""


def pytest_bench_scorers() -> Iterable[Scoring]:  # type: ignore[empty-body] # a specification has no body
    """Return scorers: `pytest_bench.scoring.Scoring` objects, one for each name that `scorers` of an eval may use."""
