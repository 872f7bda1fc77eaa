"""What `pytest-bench run` and the pytest that it starts say to each other.

The parent first reads the call: it lets pytest parse the command line and stops it before conftests are loaded. Then
it starts pytest in a process of its own and hands it the session by an environment variable, which counts for that
one process alone.
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
"""The plugin by its module, for a call that switches its entry point off."""


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """The session of `pytest-bench run`."""

    results: str
    nonce: str
    junit: str
    parent: int
    """Process id of `pytest-bench run`."""


def environment(handed: Handed) -> dict[str, str]:
    """The environment of the pytest that is handed the session."""
    return {**os.environ, _VARIABLE: msgspec.json.encode(handed).decode()}


def receive() -> Handed | None:
    """The session that the parent of this process hands over, if it does."""
    text = os.environ.pop(_VARIABLE, None)  # what this process starts is no part of it
    if text is None:
        return None
    try:
        handed = msgspec.json.decode(text, type=Handed)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{_VARIABLE}: is not what `pytest-bench run` writes: {error}") from error
    return handed if handed.parent == os.getppid() else None


class ReadCall(NamedTuple):
    """A call of pytest as its own parser understands it, before conftests."""

    option: argparse.Namespace
    given: options.Given
    rootpath: Path
    testpaths: list[str]
    here: Path


class _Read(BaseException):
    """Carries what was read out of pytest."""

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
                given=options.Given(early_config, parser),
                rootpath=early_config.rootpath,
                testpaths=early_config.getini("testpaths"),
                here=early_config.invocation_params.dir,
            )
        )


def is_reading(config: pytest.Config) -> bool:
    """Whether this call of pytest is only read."""
    return any(isinstance(plugin, _Reader) for plugin in config.pluginmanager.get_plugins())


def read_call(args: list[str]) -> ReadCall:
    """What a call of pytest asks for. Raises `UsageError` if pytest itself refuses it."""
    for added in (
        [],
        ["-p", PLUGIN],
    ):  # the second if the plugin is switched off, which the child will notice
        try:
            status = pytest.main([*args, *added], plugins=[_Reader()])
        except _Read as read:
            if read.call is not None:
                return read.call
        else:
            raise UsageError(f"pytest refuses this call (status {int(status)}); its output says why")
    raise UsageError("the plugin of pytest-inference-bench cannot be loaded")
