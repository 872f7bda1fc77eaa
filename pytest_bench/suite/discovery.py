"""Where suites are found: a matter of folders and file names, without importing any Python."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pytest_bench.errors import EvidenceError
from pytest_bench.files import open_plain

LARGEST_SUITE = 16 << 20
"""Bytes of a suite file, or of one that it includes."""

_NEVER_ENTERED = frozenset({"__pycache__", "node_modules", "venv", "build", "dist"})
_SUITE_KEY = re.compile(rb"""^(?:\{\s*)?["']?suite["']?\s*:""", re.MULTILINE)


def discover(
    args: Sequence[str], rootdir: Path, testpaths: Sequence[str], *, cwd: Path | None = None
) -> list[Path]:
    """Suite files that a pytest call asks for, sorted, each once.

    These are the `*.yaml` directly in a folder given in `args`, and in its subfolders that hold a
    `test_*.py`. A file or node id means its folder alone. Without `args`, `testpaths` below `rootdir` take
    their place, and without those the working folder. What does not exist is passed over: pytest says so.

    A folder counts only where one of its `*.yaml` has a top-level key `suite`: others belong to somebody
    else's tools. Where one has, all of them are suites, so that a misspelt one, one too large or one that cannot
    be read is not passed over.
    """
    cwd = cwd or Path.cwd()
    wanted = [cwd / arg.partition("::")[0] for arg in args]
    if not wanted:
        wanted = list(_testpaths(rootdir, testpaths)) or [cwd]
    found: set[Path] = set()
    for path in map(_normal, wanted):
        for folder in _folders(path):
            found.update(_suites(folder))
    return sorted(found)


def _testpaths(rootdir: Path, testpaths: Iterable[str]) -> Iterator[Path]:
    """`testpaths` may hold shell patterns, as in pytest itself."""
    for pattern in testpaths:
        relative = os.path.relpath(rootdir / pattern, rootdir)
        if relative == ".":
            yield rootdir
        elif not relative.startswith(".."):
            yield from sorted(rootdir.glob(relative))
        else:
            yield rootdir / pattern


def _folders(path: Path) -> Iterable[Path]:
    """The folders that `path` asks for; none where it is not there, or lies where nobody may look."""
    try:
        return _with_tests(path) if path.is_dir() else [path.parent] if path.is_file() else []
    except OSError:
        return []


def _with_tests(folder: Path) -> Iterator[Path]:
    """The folder itself, and every folder below it that holds tests."""
    yield folder
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _NEVER_ENTERED
        )
        here = Path(current)
        if here != folder and any(name.startswith("test_") and name.endswith(".py") for name in files):
            yield here


def _suites(folder: Path) -> list[Path]:
    try:
        files = [path for path in folder.iterdir() if path.suffix == ".yaml" and path.is_file()]
    except OSError:
        return []
    return files if any(map(_has_suite_key, files)) else []


def _has_suite_key(path: Path) -> bool:
    """Whether its first `LARGEST_SUITE` bytes show the key. A file that cannot be read shows none."""
    try:
        with open_plain(path) as stream:
            return _SUITE_KEY.search(stream.read(LARGEST_SUITE)) is not None
    except (EvidenceError, OSError):
        return False


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))
