"""Temporary folders that are removed even if their process is killed.

Data that needs no file name is better kept in an anonymous file (`load.counters.anonymous_file`).
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
    """Create an empty folder in `base`, by default the system's temporary folder, and remove it when the block ends.

    The folder is locked (flock) while it is in use. The kernel releases the lock however the process ends, so folders
    of this user that begin with `prefix` and are not locked are leftovers and are removed first. Raises `OSError` if
    the folder cannot be created.
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
        # Another process may have removed it before it was locked.
        if _lock(held) and folder.exists():
            return folder, held
        os.close(held)


def _remove_unless_held(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it belongs to another user, or is gone
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
