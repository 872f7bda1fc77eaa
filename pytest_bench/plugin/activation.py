"""What the plugin registers once there is a suite, in every process that runs or collects tests."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_bench.endpoints.headers import hide_secrets
from pytest_bench.plugin import fixtures
from pytest_bench.plugin.items import Items
from pytest_bench.plugin.options import is_informational
from pytest_bench.plugin.outermost import CONTROLLER, ITEMS, OUTERMOST
from pytest_bench.plugin.redacting import Redacting
from pytest_bench.plugin.reports import Reports
from pytest_bench.plugin.session import Session, adopt_session


def take_part(config: pytest.Config) -> bool:
    """Join the controller's session, as an xdist worker; False where there is none."""
    session = adopt_session(config)
    if session is not None:
        hide_secrets(session.plan, os.environ)
        _register(config, session)
    return session is not None


def take_charge(config: pytest.Config, files: Sequence[Path], nonce: str) -> None:
    """Open a session of the suites in `files`. Raises `pytest.UsageError`."""
    # Planning and judging are for this process alone: workers are spared the imports.
    from pytest_bench.plugin.controller import Controller  # noqa: PLC0415 # as said
    from pytest_bench.plugin.interrupts import SigtermAsInterrupt  # noqa: PLC0415 # as said
    from pytest_bench.plugin.junit import LeftRed  # noqa: PLC0415 # as said
    from pytest_bench.plugin.opening import open_session  # noqa: PLC0415 # as said

    session = open_session(config, files, nonce)
    _register(config, session)
    manager = config.pluginmanager
    controller = None
    if is_informational(config.option):
        _load(manager, LeftRed(session), "inference-bench-junit")
    else:
        _load(manager, SigtermAsInterrupt(), "inference-bench-sigterm")
        controller = Controller(config, session)
        _load(manager, controller, CONTROLLER)
    if manager.hasplugin("xdist"):
        from pytest_bench.plugin.xdist import Workers  # noqa: PLC0415 # `-p no:xdist` is a way to run

        _load(manager, Workers(session, controller), "inference-bench-xdist")


def _register(config: pytest.Config, session: Session) -> None:
    manager = config.pluginmanager
    if manager.is_blocked(OUTERMOST):
        raise _taken_away(OUTERMOST)
    _load(manager, Items(config, session), ITEMS)
    _load(manager, Reports(session), "inference-bench-reports")
    _load(manager, Redacting(), "inference-bench-redacting")
    fixtures.set_up(config, session)
    _load(manager, fixtures, "inference-bench-fixtures")


def _load(manager: pytest.PytestPluginManager, part: object, name: str) -> None:
    if manager.register(part, name) is None:
        raise _taken_away(name)


def _taken_away(name: str) -> pytest.UsageError:
    return pytest.UsageError(f"-p no:{name} takes away a part of what judges a session: leave it out")
