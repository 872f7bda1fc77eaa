"""Everything that knows pytest. This file holds the hooks' entry and names nothing else.

`options` (the command line) → `session` (plan, results folder, born-red files) → `items` (points as
parametrized tests) → `fixtures` (what tests ask for) → `controller` (reports in, verdict out) → `junit`,
`terminal`, `progress` (what people and CI see). `xdist` is the only file that imports xdist.

Beside suites of other people's tests the plugin costs nothing: all but this file is imported where there
is a suite.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_bench.plugin import hookspecs, markers
from pytest_bench.plugin.options import add_options, shows_only
from pytest_bench.plugin.orphans import Orphans
from pytest_bench.plugin.outermost import OUTERMOST, UNOPENED, Outermost
from pytest_bench.plugin.unopened import Unopened
from pytest_bench.suite.discovery import discover


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    add_options(parser)
    # No hook that pytest calls before it reads the whole command line brings a config.
    config = pluginmanager.get_plugin("pytestconfig")
    if isinstance(config, pytest.Config):
        pluginmanager.register(Unopened(config), UNOPENED)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    _unopened(early_config).before_conftests()
    yield
    early_config.pluginmanager.register(Outermost(), OUTERMOST)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Plan the session before anything is collected. Without a suite the plugin does nothing at all."""
    markers.declare(config)
    if shows_only(config.option):
        return
    if not _joins(config):
        config.pluginmanager.register(Orphans(), "inference-bench-orphans")
        _unopened(config).settle_unless_misspelt()


def _joins(config: pytest.Config) -> bool:
    """Take part in a session, or open one; False where there is no suite."""
    is_worker = hasattr(config, "workerinput")
    here = config.invocation_params.dir
    files = [] if is_worker else discover(config.args, config.rootpath, config.getini("testpaths"), cwd=here)
    if not (files or is_worker):
        return False
    unopened = _unopened(config)
    unopened.settle()
    from pytest_bench.plugin import activation  # noqa: PLC0415 # heavy, and seldom needed

    if is_worker:
        return activation.take_part(config)
    activation.take_charge(config, files, unopened.nonce)
    return True


def _unopened(config: pytest.Config) -> Unopened:
    found = config.pluginmanager.get_plugin(UNOPENED)
    if not isinstance(found, Unopened):
        raise pytest.UsageError(f"the plugin {UNOPENED} is a part of pytest-inference-bench: leave it loaded")
    return found
