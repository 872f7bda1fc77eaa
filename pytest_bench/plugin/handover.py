"""Communication between `pytest-bench run` and the pytest process that it starts.

The parent lets pytest parse the command line and stops it before conftests are loaded. It then starts pytest as a
child process and passes the session in an environment variable, which only that child accepts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec
import pytest

from pytest_bench.errors import UsageError
from pytest_bench.plugin import options

_VARIABLE = "PYTEST_BENCH_RUN"
PLUGIN = "pytest_bench.plugin"
"""The plugin's module, for a call that disables its entry point."""


class HandedSession(msgspec.Struct, frozen=True, kw_only=True):
    """The session that `pytest-bench run` passes to its child."""

    results: str
    nonce: str
    junit: str
    parent: int
    """Process id of `pytest-bench run`."""
    rerun: str = ""
    """The command that runs the points again; empty: pytest with the suites' folder."""


def environment(handed: HandedSession) -> dict[str, str]:
    """Return the environment for a child that receives the session."""
    return {**os.environ, _VARIABLE: msgspec.json.encode(handed).decode()}


def receive() -> HandedSession | None:
    """Return the session passed by the parent process, or None. Raises `UsageError` for an invalid one."""
    text = os.environ.pop(_VARIABLE, None)  # children of this process must not see it
    if text is None:
        return None
    try:
        handed = msgspec.json.decode(text, type=HandedSession)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{_VARIABLE}: expected the value that `pytest-bench run` sets: {error}") from error
    return handed if handed.parent == os.getppid() else None


class ReadCall(NamedTuple):
    """A call of pytest as its own parser understands it before conftests are loaded."""

    option: argparse.Namespace
    given: options.OptionSources
    rootpath: Path
    testpaths: list[str]
    here: Path


class _Read(BaseException):
    """Leaves pytest with the result of reading the call."""

    def __init__(self, call: ReadCall | None) -> None:
        self.call = call


class _Reader:
    """A plugin that stops pytest once the command line has been parsed."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config, parser: pytest.Parser) -> NoReturn:
        if not any(early_config.pluginmanager.hasplugin(name) for name in ("inference_bench", PLUGIN)):
            raise _Read(None)
        raise _Read(
            ReadCall(
                option=early_config.known_args_namespace,
                given=options.OptionSources(early_config, parser),
                rootpath=early_config.rootpath,
                testpaths=early_config.getini("testpaths"),
                here=early_config.invocation_params.dir,
            )
        )


def is_reading(config: pytest.Config) -> bool:
    """Whether `read_call` started this call of pytest."""
    return any(isinstance(plugin, _Reader) for plugin in config.pluginmanager.get_plugins())


def read_call(args: list[str]) -> ReadCall:
    """Parse a call of pytest. Raises `UsageError` if pytest itself refuses it."""
    for added in (
        [],
        ["-p", PLUGIN],
    ):  # if the plugin is disabled, load it by name
        try:
            status = pytest.main([*args, *added], plugins=[_Reader()])
        except _Read as read:
            if read.call is not None:
                return read.call
        else:
            raise UsageError(f"pytest refuses this call (status {int(status)}); its output says why")
    raise UsageError("the plugin of pytest-inference-bench cannot be loaded")
