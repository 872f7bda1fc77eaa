"""`pytest-bench clean`: remove old results folders."""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pytest_bench.cli.judging import is_session
from pytest_bench.cli.option_values import add_option, count_or_none
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.results import layout
from pytest_bench.results.claim import read_verdict
from pytest_bench.results.lock import FolderInUse, hold_folder

SUMMARY = "remove old results folders"
EXAMPLE = "pytest-bench clean --keep 20 --dry-run"

_KEPT = 20
_DEFAULT_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
"""Names that sessions choose, which sort by time."""
_WRITTEN = re.compile(r"(verdict|summary)\.[0-9a-z-]+\.(json|csv)|[^/]+\.xml|\.[^/]+\.tmp")
"""Further files of sessions: earlier verdicts, JUnit files, and what a killed session left."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("results"),
        metavar="DIR",
        help="folder that contains results folders (default: results)",
    )
    add_option(
        parser,
        "--keep",
        convert=count_or_none,
        default=_KEPT,
        metavar="N",
        help="number of results folders to keep: the newest, and what `latest` names in any case "
        f"(default: {_KEPT})",
    )
    parser.add_argument(
        "--named",
        action="store_true",
        help="also count and remove results folders that were named with --results; without it, they stay",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would be removed, and remove nothing"
    )


def run(arguments: argparse.Namespace) -> int:
    """0; 1 if a folder could not be removed. Raises `UsageError` if there is no such folder."""
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder; name the one that contains results folders")
    latest = folder / layout.LATEST
    newest_first = sorted(_results_in(folder, named=arguments.named), key=_started, reverse=True)
    removed = failed = freed = 0
    for results in newest_first[arguments.keep :]:
        if latest.exists() and results.samefile(latest):
            print(f"kept: {results}: `{layout.LATEST}` names it")
            continue
        if foreign := _foreign(results):
            print(f"kept: {results}: contains {foreign}, which no session wrote")
            continue
        size = _size(results)
        try:
            if not arguments.dry_run:
                _remove(results)
        except FolderInUse:
            print(f"kept: {results}: a session uses it")
        except OSError as error:
            failed += 1
            print(f"failed: {results}: {error.strerror or error}")
        else:
            removed, freed = removed + 1, freed + size
            print(f"{'would remove' if arguments.dry_run else 'removed'}: {results} ({_shown(size)})")
    verb = "would be removed" if arguments.dry_run else "removed"
    kept = f"--keep {arguments.keep} keeps the newest"
    print(f"{removed} of {len(newest_first)} results folders {verb}, {_shown(freed)} ({kept})")
    return 1 if failed else 0


def _results_in(folder: Path, *, named: bool) -> Iterator[Path]:
    """The results folders in `folder`. Links, files and other folders are none."""
    for path in folder.iterdir():
        meant = named or _DEFAULT_NAME.fullmatch(path.name)
        if meant and path.is_dir() and not path.is_symlink() and is_session(path):
            yield path


def _started(results: Path) -> str:
    """When the session began, as it would be in a name that it chooses; else when the folder was last changed."""
    if _DEFAULT_NAME.fullmatch(results.name):
        return results.name
    with suppress(EvidenceError):
        if started := read_verdict(results / layout.VERDICT).started:
            return started.replace("-", "").replace(":", "")
    return datetime.fromtimestamp(results.stat().st_mtime, UTC).strftime("%Y%m%dT%H%M%SZ")


def _foreign(results: Path) -> str | None:
    """A name in the folder that sessions do not write; None if there is none."""
    names = sorted(path.name for path in results.iterdir())
    return next((name for name in names if name not in layout.NAMES and not _WRITTEN.fullmatch(name)), None)


def _remove(results: Path) -> None:
    """Remove a results folder. Raises `FolderInUse`, and `OSError` if something in it cannot be removed."""
    with hold_folder(results):
        # First, so that what is left after a crash is not green.
        (results / layout.VERDICT).unlink(missing_ok=True)
        shutil.rmtree(results)


def _size(results: Path) -> int:
    """Size in bytes of all files in a folder."""
    return sum(
        (Path(folder) / name).lstat().st_size for folder, _, names in os.walk(results) for name in names
    )


def _shown(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"
