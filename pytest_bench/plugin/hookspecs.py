"""Hooks by which other plugins, and a checkout's `conftest.py`, join in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_bench.audits.contract import AuditTest


def pytest_bench_apis() -> Mapping[str, str]:  # type: ignore[empty-body] # a specification has no body
    """Contribute APIs: import references `module:attribute` of classes shaped like `pytest_bench.api.Api`,
    by the name that suites use. The module is imported by load workers too: keep its imports few."""


def pytest_bench_audits() -> Iterable[AuditTest]:  # type: ignore[empty-body] # a specification has no body
    """Contribute audits: objects shaped like `pytest_bench.audits.contract.AuditTest`, one for each `test` that
    suites may name."""
