"""Calls that end before a session is opened: no green file that they were to replace outlives them.

A wrong command line, a conftest that cannot be imported, one that ends the process: pytest then never comes to
configure anybody. What it does before it loads plugins, nobody sees: `-p` of a module that is not there, a
configuration file that cannot be read.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import traceback
from collections.abc import Collection, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_bench.plugin.options import is_informational, junit_path, shows_only
from pytest_bench.plugin.outermost import told
from pytest_bench.suite.discovery import discover

if TYPE_CHECKING:
    import argparse

_NOT_BEGUN = (
    "pytest ended before anything was planned: while it read a conftest.py, or the command line; "
    "its own output says why"
)


class Unopened:
    """Watches over a call from the moment the plugin is loaded until a session is opened."""

    def __init__(self, config: pytest.Config) -> None:
        self.nonce = secrets.token_hex(8)
        """The session's, should there be one."""
        self._config = config
        self._here = config.invocation_params.dir
        self._settled = _is_xdist_worker()  # the process that was called sees to it
        self._left_red = False
        self._why = ""
        config.add_cleanup(self._ends)

    def settle(self) -> None:
        """From here on, others see to the files; or there is nothing to see to."""
        self._settled = True

    def settle_unless_misspelt(self) -> None:
        """No suite was found: nothing is to be done, unless one was looked for where nothing is."""
        self._settled = self._config.option.pyargs or all(
            _is_there(_bare(arg, self._here)) for arg in self._config.args
        )

    def before_conftests(self) -> None:
        """Earlier files that the call names turn red now: a conftest may end the process."""
        self._read_options()
        option = self._config.option
        named = [self._here / option.results / "verdict.json"] if option.results else []
        named += [junit_path(self._config)] if option.xmlpath else []
        if any(map(_is_there, named)) and self._is_meant():
            from pytest_bench.plugin import folder  # noqa: PLC0415 # heavy, and seldom needed

            folder.leave_named_red(self._config, self.nonce, _NOT_BEGUN)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._why = told(excinfo.value)

    def close(self, status: int) -> int:
        """What to exit with where pytest would with `status`: never 0 where a session was to be opened."""
        if not self._left_red and self._was_meant():
            self._leave_red(
                self._why or f"pytest ended with status {status} without having begun: a plugin's doing"
            )
        return status or (pytest.ExitCode.USAGE_ERROR if self._left_red else 0)

    def _ends(self) -> None:
        """Called when pytest is done with the call, with whatever ended it still being handled."""
        if self._was_meant():
            error = sys.exception()
            self._leave_red(_sentence(error) or self._why or _NOT_BEGUN)
            if isinstance(error, SystemExit):
                raise pytest.UsageError(f"a conftest.py or a plugin ended the call: {told(error)}") from error

    def _leave_red(self, why: str) -> None:
        from pytest_bench.plugin import folder  # noqa: PLC0415 # heavy, and seldom needed

        self.settle()
        self._left_red = True
        self._read_options()
        folder.leave_red(self._config, self.nonce, why, begun=False)
        if kept := folder.told_of_kept(self._config).strip():
            print(kept, file=sys.stderr)

    def _was_meant(self) -> bool:
        """As `_is_meant`, once nothing more is read; looked up once."""
        meant = self._is_meant()
        self._settled = not meant
        return meant

    def _is_meant(self) -> bool:
        """Whether this call is to run points, as far as its words tell."""
        known: argparse.Namespace = self._config.known_args_namespace
        if self._settled or shows_only(known) or is_informational(known):
            return False
        asked, root = known.file_or_dir, self._config.rootpath
        tops = () if known.pyargs else {self._here, root} - {Path(root.anchor)}
        wanted = [str(path) for arg in asked if (path := _near(_bare(arg, self._here), tops))]
        if asked and not wanted:
            return False
        return bool(discover(wanted, root, self._config.getini("testpaths"), cwd=self._here))

    def _read_options(self) -> None:
        """Let options say which files are named, also where pytest has not come to read all of them."""
        known, option = self._config.known_args_namespace, self._config.option
        option.results = getattr(known, "results", None) or _given(self._words(), "--results")
        option.xmlpath = getattr(known, "xmlpath", None)

    def _words(self) -> list[str]:
        added = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
        return [*self._config.getini("addopts"), *added, *map(str, self._config.invocation_params.args)]


def _sentence(error: BaseException | None) -> str:
    if isinstance(error, pytest.UsageError):
        return "\n".join(map(str, error.args))
    return "" if error is None else told(error)


def _given(words: Sequence[str], option: str) -> str | None:
    """The value that a command line gives an option in the end."""
    found = None
    for word, following in zip_longest(words, words[1:]):
        name, equals, value = word.partition("=")
        if name == option:
            found = value if equals else following
    return found


def _bare(arg: str, here: Path) -> Path:
    """The path of a node id."""
    return Path(os.path.normpath(here / arg.partition("::")[0]))


def _near(path: Path, tops: Collection[Path]) -> Path | None:
    """What is there of a path, in one of the folders `tops` if not all of it: where a misspelt name was meant."""
    if _is_there(path):
        return path
    below = (folder for folder in path.parents if any(folder.is_relative_to(top) for top in tops))
    return next(filter(_is_there, below), None)


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 # `Path.exists` raises where a folder cannot be entered


def _is_xdist_worker() -> bool:
    """Whether xdist runs pytest in this process: what a worker starts inherits the worker's environment."""
    return "PYTEST_XDIST_WORKER" in os.environ and any(
        frame.f_globals.get("__name__") == "__channelexec__" for frame, _ in traceback.walk_stack(None)
    )
