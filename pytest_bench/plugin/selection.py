"""The user's own selection, told apart from whatever else makes items disappear.

What the command line leaves out makes a session partial, and that is fine where it is meant. What
disappears for any other reason makes it red.
"""

from __future__ import annotations

import ast
import difflib
import os.path
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from pytest_bench.plugin.expressions import compile_expression, strange_markers, strange_words
from pytest_bench.suite.plan import Point

_NAMES_SHOWN = 4
_NO_KEYWORDS = frozenset({"pytestmark", "cache_parameters"})


class UserSelection:
    """What the command line leaves out: `-k`, `-m`, `--deselect`, `--lf`, `--ignore`, paths and node ids."""

    def __init__(self, config: pytest.Config, root: Path) -> None:
        option = config.option
        self._by_name = compile_expression(option.keyword)
        self._by_marker = compile_expression(option.markexpr, whole_words=True)
        self._prefixes = tuple(option.deselect or ())
        self._by_cache = bool(getattr(option, "lf", False) or getattr(option, "stepwise", False))
        self._patterns: list[str] = config.getini("python_files")
        self._collected = [_below(root, arg) for arg in config.args if "::" not in arg]
        self._ignored = [_below(root, path) for path in option.ignore or ()]
        self._ignored_globs = [str(_below(root, path)) for path in option.ignore_glob or ()]

    def leaves_out_item(self, item: pytest.Item) -> bool:
        """Whether the command line asks for this item to be deselected."""
        return (
            self._by_cache
            or item.nodeid.startswith(self._prefixes or ("\0",))
            or not self._by_name(_names(item))
            or not self._by_marker([mark.name for mark in item.iter_markers()])
        )

    def leaves_out_uncollected(self, point: Point, folder: Path) -> bool:
        """Whether the command line keeps pytest from the file in `folder` that judges `point`."""
        return self._by_cache or any(
            not self._reaches(file)
            for pattern in self._patterns
            for file in folder.glob(pattern)
            if point.kind in judged_kinds(file)
        )

    def _reaches(self, file: Path) -> bool:
        around = (file, *file.parents)
        return (
            any(path in around for path in self._collected)
            and not any(path in around for path in self._ignored)
            and not any(fnmatch(str(path), pattern) for path in around for pattern in self._ignored_globs)
        )


@cache
def judged_kinds(file: Path) -> frozenset[str]:
    """Kinds of points that functions of a test file judge, read without importing it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "points"
        if not any(word.arg == "judge" and ast.unparse(word.value) == "False" for word in call.keywords)
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    )


def likely_selected(config: pytest.Config, points: Iterable[Point]) -> list[Point]:
    """Points that the command line's node ids and `-k` select, as far as can be known before collection."""
    matches = compile_expression(config.option.keyword)
    folders = [part for arg in config.args for part in arg.partition("::")[0].split("/")]
    named = {arg.rpartition("[")[2].rstrip("]") if "::" in arg and "[" in arg else "" for arg in config.args}
    return [
        point
        for point in points
        if ("" in named or point.id in named) and matches([*_expected_names(point), *folders])
    ]


def misspelt(config: pytest.Config, points: Sequence[Point], items: Iterable[pytest.Item]) -> Iterator[str]:
    """A sentence for each word that `-k` or `-m` asks for and that is the name of nothing.

    Neither of a point, collected or not, nor of another test; and of no marker that is registered. What a `not`
    turns round leaves nothing out where it is misspelt. Where options keep tests from being collected, `-k` may
    name one of those.
    """
    expected = {name for point in points for name in _expected_names(point)}
    option = config.option
    keyword, markexpr = option.keyword, option.markexpr
    hidden = getattr(option, "lf", False) or option.ignore or option.ignore_glob
    if not hidden and strange_words(keyword, expected):
        carried = {name for item in items for name in _names(item)}
        for word in strange_words(keyword, expected | carried):
            yield f"-k {keyword!r}: nothing is called {word!r}: {_nearest(word, points, expected)}"
    if strange_markers(markexpr, ()):
        markers = {re.split(r"\W", line, maxsplit=1)[0] for line in config.getini("markers")}
        markers |= {mark.name for item in items for mark in item.iter_markers()}
        for word in strange_markers(markexpr, markers):
            near = difflib.get_close_matches(word, sorted(markers), n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see pytest --markers"
            yield f"-m {markexpr!r}: no marker is called {word!r}: {hint}"


def _nearest(word: str, points: Sequence[Point], names: Collection[str]) -> str:
    """What a word that is the name of nothing may have meant, as the end of a sentence."""
    parts = sorted({part for name in names for part in name.replace("[", "/").rstrip("]").split("/")})
    near = difflib.get_close_matches(word, parts, n=3) or difflib.get_close_matches(word, sorted(names), n=3)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    more = f" and {len(points) - _NAMES_SHOWN} more" if len(points) > _NAMES_SHOWN else ""
    return f"the points are {', '.join(point.id for point in points[:_NAMES_SHOWN])}{more}"


def _expected_names(point: Point) -> Iterator[str]:
    yield f"test_{point.kind}[{point.id}]"
    yield f"test_{point.kind}.py"
    yield "points"


def _names(item: pytest.Item) -> set[str]:
    """What pytest matches `-k` against."""
    chain = [
        node
        for node in item.listchain()
        if not isinstance(node, pytest.Session)
        and not (isinstance(node, pytest.Directory) and isinstance(node.parent, pytest.Session))
    ]
    attributes = getattr(getattr(item, "function", None), "__dict__", {})
    return {
        *(node.name for node in chain),
        *item.listextrakeywords(),
        *(name for name in attributes if not name.startswith("_") and name not in _NO_KEYWORDS),
        *(mark.name for mark in item.iter_markers()),
    }


def _below(root: Path, path: str | Path) -> Path:
    return Path(os.path.normpath(root / path))
