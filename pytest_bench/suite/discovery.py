"""Find suite files by folder and file name, without importing any Python."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pytest_bench.errors import EvidenceError, SuiteError
from pytest_bench.files import open_plain

LARGEST_SUITE = 16 << 20
"""Largest size, in bytes, of a suite file or of a file that it includes."""

_SUFFIXES = frozenset({".yaml", ".yml"})
_NEVER_SEARCHED = frozenset({"__pycache__", "node_modules", ".git", ".hg", ".svn"})
_NOT_COLLECTED = frozenset({"build", "dist", "venv"})
"""With hidden folders: folders that pytest does not collect from."""
_ENCODINGS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_SUITE_KEY = re.compile(r"""(?:^|[\r\n])(?:---[ ]+)?(?:\{\s*)?["']?suite["']?\s*:""")


def discover(args: Sequence[str], rootdir: Path, testpaths: Sequence[str], *, cwd: Path) -> list[Path]:
    """The suite files that a pytest call asks for, sorted, each once.

    These are the `*.yaml` and `*.yml` files in each folder of `args`, and in those of its subfolders that hold a
    `test_*.py`. A file or node id means its folder, without subfolders. Without `args`, `testpaths` below
    `rootdir` are searched, or the working folder if there are none. A path that does not exist is ignored here:
    pytest reports it.

    A folder counts only if one of its YAML files has a top-level key `suite`; otherwise its files belong to other
    tools. If one has, every entry with such a suffix is returned, whatever it is, so that the reader refuses a
    misspelt key, a dangling link, a pipe or a folder instead of passing it over.
    """
    found: set[Path] = set()
    for path in _wanted(args, rootdir, testpaths, cwd):
        for folder in _folders(path, everywhere=False):
            if folder.collected:
                found.update(_suites(folder.path))
    return sorted(found)


def require_all_found(
    files: Sequence[Path],
    args: Sequence[str],
    rootdir: Path,
    testpaths: Sequence[str],
    *,
    cwd: Path,
) -> None:
    """Raise `SuiteError` if a call that found `files` would pass over other suites.

    `files` come from `discover` with the same arguments, except that `testpaths` must be empty if they do not apply
    to the call. Passed over would be suites in subfolders without a `test_*.py`, suites in folders that pytest does
    not collect from, and whatever lies in a folder of `testpaths` that does not exist. Nothing is refused if no
    suite was found: the files then belong to other tools.
    """
    if not files:
        return
    problems = [
        f"testpaths: {pattern!r} matches nothing below {rootdir}: its suites would not run; correct or remove it"
        for pattern in testpaths
        if not any(path.exists() for path in _matches(rootdir, pattern))
    ]
    known = set(files)
    for path in _wanted(args, rootdir, testpaths, cwd):
        for folder in _folders(path, everywhere=True):
            if not folder.collected:
                problems += (
                    f"{_shown(file, cwd)}: is a suite that would not run: {folder.reason}"
                    for file in sorted(_suites(folder.path))
                    if file not in known
                )
    if problems:
        raise SuiteError(list(dict.fromkeys(problems)))


class _Folder(NamedTuple):
    path: Path
    reason: str = ""
    """Why pytest would not run the suites in it; empty if it would."""

    @property
    def collected(self) -> bool:
        return not self.reason


def _wanted(args: Sequence[str], rootdir: Path, testpaths: Sequence[str], cwd: Path) -> Iterator[Path]:
    paths: Iterable[Path] = [cwd / arg.partition("::")[0] for arg in args]
    if not args:
        paths = [path for pattern in testpaths for path in _matches(rootdir, pattern)] or [cwd]
    yield from (Path(os.path.normpath(path)) for path in paths)


def _matches(rootdir: Path, pattern: str) -> list[Path]:
    """What an entry of `testpaths` names; it may hold shell patterns, as in pytest itself."""
    relative = os.path.relpath(rootdir / pattern, rootdir)
    if relative == ".":
        return [rootdir]
    if relative.startswith(".."):
        return [rootdir / pattern]
    return sorted(rootdir.glob(relative))


def _folders(path: Path, *, everywhere: bool) -> Iterable[_Folder]:
    """The folders to search for suites; none if `path` does not exist or cannot be accessed.

    `everywhere`: also those below folders that pytest does not collect from.
    """
    try:
        if path.is_dir():
            return _below(path, everywhere=everywhere)
        return [_Folder(path.parent)] if path.is_file() else []
    except OSError:
        return []


def _below(top: Path, *, everywhere: bool) -> Iterator[_Folder]:
    """The folder itself and everything below it. Links to folders are followed, as pytest does."""
    yield _Folder(top)
    reasons: dict[Path, str] = {top: ""}
    seen = {top.resolve()}
    for current, folders, files in os.walk(top, followlinks=True):
        here = Path(current)
        if here != top:
            has_tests = any(name.startswith("test_") and name.endswith(".py") for name in files)
            yield _Folder(here, reasons[here] or ("" if has_tests else _NO_TESTS))
        folders[:] = [name for name in sorted(folders) if _is_searched(here / name, top, seen)]
        for name in list(folders):
            if name.startswith(".") or name in _NOT_COLLECTED:
                reasons[here / name] = reasons[here] or _HIDDEN.format(name)
                if not everywhere:
                    folders.remove(name)
            else:
                reasons[here / name] = reasons[here]


_NO_TESTS = (
    "its folder holds no test_*.py; add one (`pytest-bench init` shows how), or move the file out of the folders "
    "that this call searches"
)
_HIDDEN = "pytest does not collect from folders named {!r}; move the file, or delete it"


def _is_searched(folder: Path, top: Path, seen: set[Path]) -> bool:
    """Whether a folder may hold suites: not one of version control or packages, nor a link to one that is searched."""
    if folder.name in _NEVER_SEARCHED or (folder / "pyvenv.cfg").exists():
        return False
    if folder.is_symlink():
        real = folder.resolve()
        if real in seen or real.is_relative_to(top.resolve()):
            return False
        seen.add(real)
    return True


def _suites(folder: Path) -> list[Path]:
    """Every entry of a folder that is named like a suite, if at least one is a suite."""
    try:
        files = [path for path in folder.iterdir() if _is_named_like_a_suite(path.name)]
    except OSError:
        return []
    return files if any(map(_has_suite_key, files)) else []


def _is_named_like_a_suite(name: str) -> bool:
    # Emacs marks a file that is being edited by a dangling link of this prefix.
    return os.path.splitext(name)[1].lower() in _SUFFIXES and not name.startswith(".#")  # noqa: PTH122 # a name


def _has_suite_key(path: Path) -> bool:
    """Whether the first `LARGEST_SUITE` bytes show the key. False for a file that cannot be read."""
    try:
        with open_plain(path) as stream:
            data = stream.read(LARGEST_SUITE)
    except (EvidenceError, OSError):
        return False
    encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    return _SUITE_KEY.search(data.decode(encoding, "replace")) is not None


def _shown(path: Path, cwd: Path) -> str:
    return path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else str(path)
