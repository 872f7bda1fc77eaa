"""Decides which points the user's selection excludes, with pytest's own matchers.

A selection makes a session partial, which is allowed. A point that is absent for any other reason makes the session
red. So each absent point is compared with what pytest's own code does with the recorded options alone. This module
calls internals of pytest; `tests/plugin/test_selection.py` checks what it relies on.
"""

from __future__ import annotations

import ast
import copy
import os.path
import re
from argparse import Namespace
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_bench.errors import UsageError
from pytest_bench.suite.plan import Point
from pytest_bench.wording import did_you_mean, first_of

_NAMES_SHOWN = 4
_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|[()]|[^\s()'"]+""")
"""A token of an expression of `-k` or `-m`: a string, a parenthesis, a word or an operator."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The selection options of the call that started the session. Workers receive them from the controller."""

    keyword: str = ""
    markexpr: str = ""
    deselect: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    """Absolute paths, as in `ignore_glob` and `args`."""
    ignore_glob: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    """Paths and node ids."""
    last_failed: bool = False
    stepwise: bool = False

    @classmethod
    def of(cls, config: pytest.Config) -> Selection:
        option = config.option

        def absolute(words: Sequence[str] | None) -> tuple[str, ...]:
            split = (
                (Path(word.partition("::")[0]), "".join(word.partition("::")[1:])) for word in words or ()
            )
            here = config.invocation_params.dir
            return tuple(f"{os.path.normpath(here / path)}{rest}" for path, rest in split)

        return cls(
            keyword=option.keyword,
            markexpr=option.markexpr,
            deselect=tuple(option.deselect or ()),
            ignore=absolute(option.ignore),
            ignore_glob=absolute(option.ignore_glob),
            args=absolute(config.args),
            last_failed=bool(getattr(option, "lf", False)),
            stepwise=bool(getattr(option, "stepwise", False)),
        )

    def hides_files(self) -> bool:
        """Whether options prevent the collection of some tests."""
        return bool(self.last_failed or self.stepwise or self.ignore or self.ignore_glob)


def refuse_malformed(config: pytest.Config) -> None:
    """Raises `UsageError` for a malformed `-k` or `-m`, which xdist would turn into an internal error."""
    for option, text in (("-k", config.option.keyword), ("-m", config.option.markexpr)):
        try:
            _compile(config, text)
        except SyntaxError as error:
            raise UsageError(
                f"{option} {text!r}: at column {error.offset}: {error.msg}; expected names joined by and, or, not "
                "and parentheses, as in 'wan22 and not audit'"
            ) from error


class Matcher:
    """Applies pytest's own deselection with the recorded options, in any process."""

    def __init__(self, config: pytest.Config, selection: Selection) -> None:
        self._config = config
        self._selection = selection
        self._recorded = _RecordedConfig(config, selection)

    def _plugin(self, name: str) -> Any:
        return self._config.pluginmanager.get_plugin(name)

    def left_out(self, items: Sequence[pytest.Item]) -> list[pytest.Item]:
        """Return the collected items that pytest itself deselects."""
        left, recorded = list(items), self._recorded
        recorded.dropped = []
        # In pytest's order. Plugins with state are copied, so that this does not change theirs.
        if self._selection.stepwise and (stepwise := copy.copy(self._plugin("stepwiseplugin"))) is not None:
            stepwise.cached_info = copy.copy(stepwise.cached_info)
            stepwise.report_status = []
            stepwise.pytest_collection_modifyitems(config=recorded, items=left)
        for name in ("mark", "main"):
            self._plugin(name).pytest_collection_modifyitems(items=left, config=recorded)
        if self._selection.last_failed and (last_failed := copy.copy(self._plugin("lfplugin"))) is not None:
            steps = last_failed.pytest_collection_modifyitems(config=recorded, items=left)
            next(steps)
            with suppress(StopIteration):
                next(steps)
        return recorded.dropped

    def leaves_out_uncollected(self, point: Point, folder: Path) -> bool:
        """Whether the user's options keep pytest from collecting every function in `folder` that judges `point`."""
        places = [
            (file, name)
            for pattern in self._config.getini("python_files")
            for file in folder.glob(pattern)
            for kind, name in judging_functions(file)
            if kind == point.kind
        ]
        return bool(places) and not any(self._selects(point, file, name) for file, name in places)

    def _selects(self, point: Point, file: Path, function: str) -> bool:
        if not any(_covers(arg, point, file, function) for arg in self._selection.args):
            return False
        ignores = self._plugin("main").pytest_ignore_collect
        if any(ignores(collection_path=path, config=self._recorded) for path in (file, *file.parents)):
            return False
        return not (self._selection.last_failed and self._last_failed_skips(point, file))

    def _last_failed_skips(self, point: Point, file: Path) -> bool:
        plugin = self._plugin("lfplugin")
        failed = plugin.get_last_failed_paths() if plugin is not None else ()
        if not failed:
            return False
        return file not in failed or not any(f"[{point.id}]" in str(node) for node in plugin.lastfailed)

    def misspelt(self, points: Sequence[Point], items: Sequence[pytest.Item]) -> Iterator[str]:
        """Yield a sentence for each non-negated word of `-k` or `-m` that matches no name.

        For `-k`, names are those of all points and of the collected tests; for `-m`, registered and used markers. `-k`
        is not checked if options prevent the collection of tests, because a word may name one of those.
        """
        option = self._selection
        mark = self._plugin("mark")
        if option.keyword and not option.hides_files():
            matchers = [mark.KeywordMatcher.from_item(item) for item in items]
            names = {
                name
                for point in points
                for name in (f"test_{point.kind}.py", f"test_{point.kind}[{point.id}]")
            }
            for word in _positive_words(_compile(self._config, option.keyword)):
                known = any(word.lower() in name.lower() for name in names)
                if not known and not any(matcher(word) for matcher in matchers):
                    yield f"-k {option.keyword!r}: no test is called {word!r}{_hint(word, points, names)}"
        if option.markexpr:
            markers = {re.split(r"\W", line, maxsplit=1)[0] for line in self._config.getini("markers")}
            markers |= {carried.name for item in items for carried in item.iter_markers()}
            for word in _positive_words(_compile(self._config, option.markexpr)):
                if word not in markers:
                    hint = did_you_mean(word, sorted(markers), most=3) or "; see pytest --markers"
                    yield f"-m {option.markexpr!r}: no marker is called {word!r}{hint}"


class _RecordedConfig:
    """Replaces pytest's config: it returns the recorded options, and collects deselected items."""

    def __init__(self, config: pytest.Config, selection: Selection) -> None:
        self._config = config
        self.option = Namespace(
            keyword=selection.keyword,
            markexpr=selection.markexpr,
            deselect=list(selection.deselect),
            ignore=list(selection.ignore),
            ignore_glob=list(selection.ignore_glob),
            lf=selection.last_failed,
        )
        self.hook = self
        self.dropped: list[pytest.Item] = []

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.dropped += items

    def getoption(self, name: str) -> Any:
        return getattr(self.option, name) if hasattr(self.option, name) else self._config.getoption(name)

    def getini(self, name: str) -> Any:
        return [] if name == "norecursedirs" else self._config.getini(name)

    def _getconftest_pathlist(self, name: str, path: Path) -> None:
        """Return None: what conftests ignore is not part of the user's selection."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


def _compile(config: pytest.Config, text: str) -> Any:
    """Compile an expression of `-k` or `-m`. Raises `SyntaxError`."""
    mark: Any = config.pluginmanager.get_plugin("mark")
    return mark.Expression.compile(text)


def _positive_words(expression: Any) -> list[str]:
    """Return the words of an expression that are not negated, sorted."""
    negated, enclosing = False, [False]
    positive: set[str] = set()
    for token in _TOKEN.findall(expression.input):
        match token:
            case "(":
                enclosing.append(negated)
            case ")":
                enclosing.pop()
                negated = enclosing[-1]
            case "not":
                negated = not negated
            case "and" | "or":
                negated = enclosing[-1]
            case _ if not negated:
                positive.add(token)
    return sorted(positive & expression.idents())


def _covers(arg: str, point: Point, file: Path, function: str) -> bool:
    """Whether a path or a node id selects a function of a file with a point as its parameter."""
    path, colons, rest = arg.partition("::")
    if not colons:
        return file.is_relative_to(path)
    name, bracket, parameters = rest.partition("[")
    named = function == "" or name.partition("::")[0] == function
    return Path(path) == file and named and (not bracket or point.id in parameters)


@cache
def judging_functions(file: Path) -> frozenset[tuple[str, str]]:
    """Return (kind, name) for each top-level function or class of a file that judges points ("" for the whole module).

    The file is parsed and not imported, because the user may have excluded it.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(
        (argument.value, getattr(node, "name", ""))
        for node in tree.body
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "points"
        if not any(word.arg == "judge" and ast.unparse(word.value) == "False" for word in call.keywords)
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def _hint(word: str, points: Sequence[Point], names: Collection[str]) -> str:
    """Suggest names close to a word that matches nothing, as the end of a sentence."""
    parts = sorted({part for name in names for part in name.replace("[", "/").rstrip("]").split("/")})
    return (
        did_you_mean(word, parts, most=3)
        or did_you_mean(word, sorted(names), most=3)
        or f"; the points are {first_of([point.id for point in points], _NAMES_SHOWN)}"
    )
