"""Everything that knows pytest. This file holds the hooks' entry and names nothing else.

`options` (the command line) → `session` (plan, results folder, born-red files) → `items` (points as
parametrized tests) → `fixtures` (what tests ask for) → `controller` (reports in, verdict out) → `junit`,
`terminal`, `progress` (what people and CI see). `xdist` is the only file that imports xdist.
"""

from __future__ import annotations

import pytest

from pytest_bench.plugin import fixtures, hookspecs, markers, reports
from pytest_bench.plugin.controller import Controller
from pytest_bench.plugin.interrupts import SigtermAsInterrupt
from pytest_bench.plugin.items import Items
from pytest_bench.plugin.options import add_options, is_informational
from pytest_bench.plugin.session import adopt_session, open_session
from pytest_bench.plugin.xdist import Workers
from pytest_bench.verdict.judge import Violations


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Plan the session before anything is collected. Without a suite the plugin does nothing at all."""
    markers.declare(config)
    session = adopt_session(config) if hasattr(config, "workerinput") else open_session(config)
    if session is None:
        return
    manager = config.pluginmanager
    manager.register(Items(config, session), "inference-bench-items")
    fixtures.set_up(config, session)
    manager.register(fixtures, "inference-bench-fixtures")
    manager.register(reports, "inference-bench-reports")
    if is_informational(config):
        return
    if not hasattr(config, "workerinput"):
        manager.register(SigtermAsInterrupt(), "inference-bench-sigterm")
        controller = Controller(config, session)
        manager.register(controller, "inference-bench-controller")
        manager.register(Workers(session, controller), "inference-bench-xdist")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show what a requirement measured instead of two tuples."""
    if isinstance(left, Violations) and op == "==" and right == ():
        return ["requirements not met", *left.lines()]
    return None
