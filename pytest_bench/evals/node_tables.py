"""Finds on a node, after a command, the tables that it left: what is new, whose it is, and a copy of each."""

from __future__ import annotations

import getpass
import glob
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pytest_bench.cluster.tables import read_table
from pytest_bench.errors import EvidenceError
from pytest_bench.evals.node_files import COPIES, LARGEST_TABLE, OUTPUT, FoundTable
from pytest_bench.files import open_plain

_LOOK_S = 0.25
_MOST = 200
"""Candidates that are kept; a pattern that matches more is too wide."""


class _File(NamedTuple):
    """A file as it is at one moment."""

    inode: int
    modified_ns: int
    data: bytes
    problem: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class TableFinder:
    """Knows which files were there before the command, so it must be made before the command starts."""

    def __init__(
        self, paths: Sequence[str], *, job: str, working_folder: Path, folder: Path, is_alone: bool
    ) -> None:
        """`paths`: patterns, which may hold `{user}`. `folder`: that of the node. `is_alone`: without other nodes."""
        user = _user()
        self._patterns = [str(working_folder / path.replace("{user}", user)) for path in paths]
        self._patterns.append(f"{glob.escape(str(folder / OUTPUT))}/**/*.csv")
        self._job, self._working_folder, self._folder, self._is_alone = job, working_folder, folder, is_alone
        self._before = dict(self._files())

    def wait(self, wait_s: float) -> tuple[FoundTable, ...]:
        """Wait until there is a table with a measured row, and no candidate changes any more; at most `wait_s`.

        Without other nodes, an empty table ends the wait, because no better one will come. Returns what is there then,
        with a copy of each file in the node's folder.
        """
        until = time.monotonic() + wait_s
        files = dict(self._files())
        while time.monotonic() < until:
            time.sleep(min(_LOOK_S, max(0.0, until - time.monotonic())))
            earlier, files = files, dict(self._files())
            if files == earlier and any(self._is_result(path, file) for path, file in files.items()):
                break
        return tuple(self._found(number, path, file) for number, (path, file) in enumerate(files.items()))

    def _files(self) -> Iterator[tuple[str, _File]]:
        paths = dict.fromkeys(
            path
            for pattern in self._patterns
            for path in sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 # absolute patterns
        )
        if len(paths) > _MOST:
            raise EvidenceError(
                f"{len(paths)} files match the paths of tables, expected at most {_MOST}: name them more narrowly"
            )
        for path in paths:
            with suppress(FileNotFoundError):  # removed meanwhile
                yield path, _read(path)

    def _is_result(self, path: str, file: _File) -> bool:
        if self._problem(path, file):
            return False
        try:
            table = read_table(file.data, path)
        except EvidenceError:
            return False
        return table.measured > 0 or self._is_alone

    def _problem(self, path: str, file: _File) -> str:
        if file.problem:
            return file.problem
        before = self._before.get(path)
        if before is None:
            return ""
        if before == file:
            return "was there before the command was started"
        if before.data and file.data.startswith(before.data):
            return (
                "was there before the command was started, which appended to it: its rows cannot be told from older "
                "ones; remove the file first"
            )
        return ""

    def _found(self, number: int, path: str, file: _File) -> FoundTable:
        problem, copy = self._problem(path, file), None
        if not file.problem:
            own = Path(path)
            if own.is_relative_to(self._folder):
                copy = own.relative_to(self._folder).as_posix()
            else:
                copy = f"{COPIES}/{number}-{own.name}"
                (self._folder / COPIES).mkdir(exist_ok=True)
                (self._folder / copy).write_bytes(file.data)
        return FoundTable(
            source=path,
            copy=copy,
            sha256=None if file.problem else file.sha256,
            modified_ns=file.modified_ns,
            inode=file.inode,
            job=self._job_of(Path(path)),
            problem=problem,
        )

    def _job_of(self, path: Path) -> str | None:
        """The command was started in the working folder; elsewhere, a folder of the path must have the job's name."""
        is_own = path.is_relative_to(self._working_folder) or path.is_relative_to(self._folder)
        return self._job if is_own or self._job in path.parts else None


def _read(path: str) -> _File:
    status = os.stat(path)  # noqa: PTH116 # paths are text here
    try:
        with open_plain(Path(path)) as stream:
            data = stream.read(LARGEST_TABLE + 1)
    except FileNotFoundError:
        raise
    except (OSError, EvidenceError) as error:
        return _File(status.st_ino, status.st_mtime_ns, b"", f"cannot be read: {error}")
    if len(data) > LARGEST_TABLE:
        return _File(
            status.st_ino, status.st_mtime_ns, b"", f"is larger than {LARGEST_TABLE >> 20} MiB: not a table"
        )
    return _File(status.st_ino, status.st_mtime_ns, data)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without a name
        return str(os.getuid())
