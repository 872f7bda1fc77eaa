"""Hooks by which other plugins, and a checkout's `conftest.py`, join in."""

from __future__ import annotations

from collections.abc import Mapping


def pytest_bench_apis() -> Mapping[str, str]:  # type: ignore[empty-body] # a specification has no body
    """Contribute APIs: import references `module:attribute` of classes shaped like `pytest_bench.api.Api`,
    by the name that suites use. The module is imported by load workers too: keep its imports few."""
