"""The pytest plugin. This module defines only the hooks that pytest calls first.

`call` follows one call of pytest from before conftests are loaded until its exit status is decided; `opening` plans;
`items` turns points into tests; `fixtures` and `runner` run them; `reports` and `controller` append to the event log
what pytest reports; `junit`, `terminal` and `progress` show it. Only `xdist` imports xdist. `slurm` spreads a session
over nodes; `barrier` is a fixture for tests on several nodes, which need no suite.

Without a suite the plugin costs nothing: heavy modules are imported only if a suite is found.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_bench.plugin import barrier, call, hookspecs, markers
from pytest_bench.plugin.options import add_options, shows_only


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    add_options(parser)
    # pytest passes no config to any hook that it calls before it has read the whole command line.
    config = pluginmanager.get_plugin("pytestconfig")
    if isinstance(config, pytest.Config):
        call.start(config)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser
) -> Generator[None, None, None]:
    this = call.call_of(early_config)
    this.begin(parser)
    yield
    early_config.pluginmanager.register(this)  # after conftests, so that it wraps their hooks


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Plan the session before collection. Without a suite the plugin does nothing."""
    markers.declare(config)
    config.pluginmanager.register(barrier)
    this = call.call_of(config)
    if shows_only(config.option):
        return
    if this.suites or hasattr(config, "workerinput"):
        from pytest_bench.plugin import opening  # noqa: PLC0415 # heavy, and not needed without a suite

        opening.join_session(config, this)
    else:
        config.pluginmanager.register(markers.WithoutSuite())
