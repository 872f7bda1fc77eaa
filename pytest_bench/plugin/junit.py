"""The cases that pytest's own JUnit writer makes, taken for the session's JUnit file.

pytest's writer keeps every element that it makes; they go into the event log, and the file itself is rendered from
the log. So the writer's own file goes nowhere. Nobody else knows how it keeps its elements:
`tests/plugin/test_junit_cases.py` holds it to that.
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
    """Appends the cases to the event log of the process that was called."""

    def __init__(self, config: pytest.Config, call: Call) -> None:
        if config.option.xmlpath is None:  # pytest's writer is there only if a file is named
            config.option.xmlpath = str(call.results / JUNIT)
        self._config = config
        self._call = call
        self._appended: set[int] = set()
        self._points: dict[int, str] = {}
        """By the identity of its reporter, the point that an item judges."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Once the writer has seen the last report of an item, its case is complete."""
        writer = _writer(self._config)
        if writer is None:
            return (yield)
        reporters = [writer.node_reporter(report)]
        known = len(writer.node_reporters_ordered)
        yield
        reporters += writer.node_reporters_ordered[
            known:
        ]  # a failed tear-down after a failed call has its own
        point = dict(report.user_properties).get(JUDGES)
        for reporter in reporters:
            if point is not None:
                self._points[id(reporter)] = str(point)
            if report.when == "teardown":
                self._append(reporter)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Take the cases that no tear-down completed, and let the writer write its file nowhere."""
        writer = _writer(self._config)
        if writer is None or self._call.log is None:
            return (yield)
        shown, writer.logfile = writer.logfile, os.devnull
        try:
            yield
        finally:
            writer.logfile = shown
            for reporter in writer.node_reporters_ordered:
                self._append(reporter)
            for name, value in writer.global_properties:
                self._call.log.append(SuiteProperty(name=name, value=value))

    def _append(self, reporter: Any) -> None:
        case: ET.Element = reporter.to_xml()
        # An item that was set up and never ended has no name yet: pytest would write it as passed.
        if id(reporter) in self._appended or case.get("name") is None or self._call.log is None:
            return
        self._appended.add(id(reporter))
        point = self._points.get(id(reporter))
        self._call.log.append(JUnitCase(xml=ET.tostring(case, encoding="unicode"), point=point))


def _writer(config: pytest.Config) -> Any:
    """Pytest's own writer of JUnit files; None if it is off."""
    module = config.pluginmanager.get_plugin("junitxml")
    return None if module is None else config.stash.get(module.xml_key, None)
