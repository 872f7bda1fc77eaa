"""APIs, audits and scorers of third-party plugins, found and loaded as pytest does."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from pytest_bench.audits import AuditTest
from pytest_bench.errors import UsageError


class Contributions(NamedTuple):
    """APIs, audits and scorers of plugins, without the shipped ones."""

    apis: list[Mapping[str, str]]
    audits: list[AuditTest]
    scorings: list[object]


def add_plugin_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "-p",
        dest="plugins",
        action="append",
        default=[],
        metavar="PLUGIN",
        help="also use the APIs, audits and scorers of a module or file, as in -p my_audits or -p bench/conftest.py; "
        "those of installed pytest plugins are always used",
    )


def contributions(named: Sequence[str]) -> Contributions:
    """Contributions of installed plugins and of those `named`: modules, or files that end in `.py`.

    Raises `UsageError` for a plugin that cannot be loaded, or whose hook fails.
    """
    manager = pytest.PytestPluginManager()
    try:
        if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
            manager.import_plugin("pytest_bench.plugin")
        else:
            manager.load_setuptools_entrypoints("pytest11")
        for name in named:
            if name.endswith(".py"):
                manager.register(_module_at(Path(name)), name)
            else:
                manager.import_plugin(name)
        # The plugins that declare hooks include this package's own.
        manager.hook.pytest_addhooks.call_historic(kwargs={"pluginmanager": manager})
        return Contributions(
            apis=list(manager.hook.pytest_bench_apis()),
            audits=list(chain.from_iterable(manager.hook.pytest_bench_audits())),
            scorings=list(chain.from_iterable(manager.hook.pytest_bench_scorers())),
        )
    except Exception as error:
        # Third-party code may raise any exception.
        raise UsageError(
            f"plugins: {type(error).__name__}: {error}; expected modules and files that pytest can load"
        ) from error


def _module_at(path: Path) -> ModuleType:
    """Import the module in a file, which may be anywhere. The same file gives the same module."""
    name = str(path.resolve())
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path}: is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
