"""Temporary folders that do not outlive their process for long, even where it was killed.

What needs no name is better kept in a file without one (`load.board.anonymous_file`); this is for what does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "pytest-bench-scratch-"


@contextlib.contextmanager
def scratch_folder(base: Path | None = None, prefix: str = _PREFIX) -> Iterator[Path]:
    """An empty folder of this process's own, removed when the block ends; in `base`, or where the system has such.

    It is locked (flock) while it is in use, and the kernel gives the lock back whatever ends its holder: folders
    of this user's that begin with `prefix` and that nobody holds are removed on the way in. Raises `OSError` where
    none can be made.
    """
    base = Path(tempfile.gettempdir()) if base is None else base
    for left in base.glob(f"{prefix}*"):
        _remove_unless_held(left)
    folder, held = _make(base, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _make(base: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        # Another process may have found it in the moment before it was locked.
        if _lock(held) and folder.exists():
            return folder, held
        os.close(held)


def _remove_unless_held(folder: Path) -> None:
    with contextlib.suppress(OSError):  # of another user's, or gone already
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if os.fstat(held).st_uid == os.geteuid() and _lock(held):
                shutil.rmtree(folder)
        finally:
            os.close(held)


def _lock(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
