"""What the plugin registers once there is a suite, in every process that runs or collects tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_bench.plugin.controller import Controller
from pytest_bench.plugin.interrupts import SigtermAsInterrupt
from pytest_bench.plugin.items import Items
from pytest_bench.plugin.junit import LeftRed
from pytest_bench.plugin.options import is_informational
from pytest_bench.plugin.reports import Reports
from pytest_bench.plugin.session import adopt_session, open_session


def activate(config: pytest.Config, files: Sequence[Path]) -> bool:
    """Plan the suites in `files`, or take over the controller's plan, and join the session.

    False in an xdist worker whose controller has found no suite. Raises `pytest.UsageError`.
    """
    is_worker = hasattr(config, "workerinput")
    session = adopt_session(config) if is_worker else open_session(config, files)
    if session is None:
        return False
    manager = config.pluginmanager
    manager.register(Items(config, session), "inference-bench-items")
    manager.register(Reports(session), "inference-bench-reports")
    if not _leaves_running_to_workers(config):
        from pytest_bench.plugin import fixtures  # noqa: PLC0415 # with the load engine and all that it needs

        fixtures.set_up(config, session)
        manager.register(fixtures, "inference-bench-fixtures")
    if is_worker:
        return True
    controller = None
    if is_informational(config):
        manager.register(LeftRed(session), "inference-bench-junit")
    else:
        manager.register(SigtermAsInterrupt(), "inference-bench-sigterm")
        controller = Controller(config, session)
        manager.register(controller, "inference-bench-controller")
    if manager.hasplugin("xdist"):
        from pytest_bench.plugin.xdist import Workers  # noqa: PLC0415 # `-p no:xdist` is a way to run

        manager.register(Workers(session, controller), "inference-bench-xdist")
    return True


def _leaves_running_to_workers(config: pytest.Config) -> bool:
    """Whether this is the controller of xdist workers, which runs no test itself."""
    option = config.option
    distributes = getattr(option, "dist", "no") != "no" and bool(getattr(option, "tx", None))
    return distributes and not option.collectonly and not hasattr(config, "workerinput")
