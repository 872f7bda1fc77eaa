"""Copies the test cases of pytest's own JUnit writer into the event log.

The session's JUnit file is rendered from the log, so the writer's own file is discarded. This module depends on how the
writer stores its elements, which `tests/plugin/test_junit_cases.py` checks.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pytest_bench.plugin.call import Call
from pytest_bench.plugin.markers import JUDGES
from pytest_bench.results.layout import JUNIT
from pytest_bench.verdict.events import JUnitCase, SuiteProperty


class JUnitCases:
    """Appends JUnit cases to the controller's event log."""

    def __init__(self, config: pytest.Config, call: Call) -> None:
        if config.option.xmlpath is None:  # pytest creates its writer only if a file is named
            config.option.xmlpath = str(call.results / JUNIT)
        self._config = config
        self._call = call
        self._appended: set[int] = set()
        self._points: dict[int, str] = {}
        """The point that an item judges, by `id()` of the item's reporter."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Append a case when the writer has processed the last report of its item."""
        writer = _writer(self._config)
        reporters = [writer.node_reporter(report)]
        known = len(writer.node_reporters_ordered)
        yield
        reporters += writer.node_reporters_ordered[
            known:
        ]  # a failed teardown after a failed call has its own reporter
        point = dict(report.user_properties).get(JUDGES)
        for reporter in reporters:
            if point is not None:
                self._points[id(reporter)] = str(point)
            if report.when == "teardown":
                self._append(reporter)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Append the cases without a teardown report, and discard the writer's own file."""
        writer = _writer(self._config)
        shown, writer.logfile = writer.logfile, os.devnull
        try:
            yield
        finally:
            writer.logfile = shown
            for reporter in writer.node_reporters_ordered:
                self._append(reporter)
            for name, value in writer.global_properties:
                self._call.append(SuiteProperty(name=name, value=value))

    def _append(self, reporter: Any) -> None:
        case: ET.Element = reporter.to_xml()
        # An item that did not finish its setup has no name yet; pytest would write it as passed.
        if id(reporter) in self._appended or case.get("name") is None:
            return
        self._appended.add(id(reporter))
        point = self._points.get(id(reporter))
        self._call.append(JUnitCase(xml=ET.tostring(case, encoding="unicode"), point=point))


def _writer(config: pytest.Config) -> Any:
    """Return pytest's own JUnit writer. A call that disables it was refused; if it is missing anyway, this raises."""
    module: Any = config.pluginmanager.get_plugin("junitxml")
    return config.stash[module.xml_key]
