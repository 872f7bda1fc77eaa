"""Fixtures that stand in for the plugin's own: found by reading the files, before any process imports them.

A fixture named `point` or `deployment` in a conftest would win over ours without a word.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

PUBLIC_FIXTURES = frozenset({"point", "deployment", "endpoint", "tokenizer_pool", "run_load", "measurement"})
"""Fixtures that test functions may ask for; nobody else may define one of these names."""


def shadowing(
    folders: Iterable[Path], top: Path, patterns: Iterable[str], *, conftests: bool
) -> Iterator[str]:
    """A sentence for each fixture that would shadow one of ours for tests in `folders`.

    Looks at test files (`patterns`) in the folders, and with `conftests` at every `conftest.py` from there up
    to `top`.
    """
    files: set[Path] = set()
    for folder in folders:
        files.update(file for pattern in patterns for file in folder.glob(pattern))
        if conftests:
            above = (folder, *(parent for parent in folder.parents if top in (parent, *parent.parents)))
            files.update(place / "conftest.py" for place in above)
    for file in sorted(files):
        for name, line in _fixtures(file):
            if name in PUBLIC_FIXTURES:
                yield sentence(f"{file}:{line}", name)


def sentence(where: str, name: str) -> str:
    """What is wrong with a fixture called `name` at `where`."""
    return f"{where}: the fixture {name!r} would stand in for the plugin's own: give yours another name"


def _fixtures(file: Path) -> Iterator[tuple[str, int]]:
    """Name and line of every fixture that a file defines."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                call = decorator if isinstance(decorator, ast.Call) else None
                named = call.func if call else decorator
                word = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
                if word == "fixture":
                    yield _given_name(call) or node.name, node.lineno


def _given_name(call: ast.Call | None) -> str | None:
    for keyword in call.keywords if call else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None
