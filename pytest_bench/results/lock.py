"""The lock of a results folder, which the session that writes the folder holds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_bench.results import layout


class FolderInUse(Exception):
    """A session uses the folder."""


def is_in_use(results: Path) -> bool:
    """Whether a session that still runs holds the results folder, as far as its file system supports locks.

    The lock is acquired briefly; nothing is written. A pipe in place of the lock file does not block the call.
    """
    try:
        lock = os.open(results / layout.LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False


@contextmanager
def hold_folder(results: Path) -> Iterator[None]:
    """Lock a results folder while the block runs. The lock file is removed at the end.

    Raises `FolderInUse`, and `OSError` if the lock file cannot be written.
    """
    path = results / layout.LOCK
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The session that created it may have removed it in the meantime; others would then lock a new file.
            ours = os.path.samestat(path.lstat(), os.fstat(held))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise FolderInUse(str(results))
        try:
            yield
        finally:
            # Removed while still locked, so that a session that has opened it will notice.
            path.unlink(missing_ok=True)
    finally:
        os.close(held)
