"""Everything that knows pytest. This file holds the entry of its hooks and nothing else.

`call` watches over the call from before conftests are loaded until its exit status is decided; `opening` plans;
`items` makes tests of points; `fixtures` and `runner` run them; `reports` and `controller` append to the event log
what pytest reports; `junit`, `terminal` and `progress` show it. `xdist` is the only file that imports xdist.

Beside suites of other people's tests the plugin costs nothing: what is heavy is imported when there is a suite.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from pytest_bench.plugin import call, hookspecs, markers
from pytest_bench.plugin.options import add_options, shows_only


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    add_options(parser)
    # No hook that pytest calls before it reads the whole command line brings a config.
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
    early_config.pluginmanager.register(this)  # after conftests, so that it is around their hooks


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Plan the session before anything is collected. Without a suite the plugin does nothing at all."""
    markers.declare(config)
    this = call.call_of(config)
    if shows_only(config.option):
        return
    if this.suites or hasattr(config, "workerinput"):
        from pytest_bench.plugin import opening  # noqa: PLC0415 # heavy, and not needed beside other people's tests

        opening.join_session(config, this)
    else:
        config.pluginmanager.register(markers.WithoutSuite())
