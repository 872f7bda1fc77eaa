"""Removes secrets from what pytest shows of a test: tracebacks, captured output and logs."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_bench.redaction import redact


class Redacting:
    """Removes secrets from every test report before other hooks see it."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        report.sections = [(name, redact(text)) for name, text in report.sections]
        shown = report.longreprtext
        if (cleared := redact(shown)) != shown:
            report.longrepr = cleared
        return report
