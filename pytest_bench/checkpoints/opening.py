"""Opening a checkpoint for writing: locked for as long as it is open, and repaired before anything is appended."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypedDict, Unpack

from pytest_bench.checkpoints.contents import Contents, read_stream
from pytest_bench.checkpoints.writer import CheckpointWriter, Sync
from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import fsync_folder

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class WriterOptions(TypedDict, total=False):
    """Options of `CheckpointWriter`."""

    sync: Sync
    on_written: Callable[[int], None] | None
    on_durable: Callable[[int], None] | None


class OpenCheckpoint:
    """A locked, repaired checkpoint. The lock is a property of the open file: a child process that inherits
    `descriptor` holds it, too, and it is released when the last of them has closed it or ended."""

    def __init__(self, path: Path, descriptor: int, contents: Contents) -> None:
        self.path = path
        self.descriptor = descriptor
        self.contents = contents
        """What the file held when it was last read."""

    def reread(self) -> Contents:
        """Read what a writer has appended, after it has ended, and repair the end."""
        self.contents = _read(self.descriptor, self.path, self.contents)
        return self.contents

    def writer(self, **options: Unpack[WriterOptions]) -> CheckpointWriter:
        """A writer that continues the file. There must be one at a time, closed before the next `reread`."""
        contents = self.contents
        return CheckpointWriter(
            self.path, self.descriptor, lines=contents.lines, good_bytes=contents.good_bytes, **options
        )

    def close(self) -> None:
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_checkpoint(path: Path) -> OpenCheckpoint:
    """Open or create the checkpoint at `path`, lock it, read it, and repair its end.

    A torn last line is cut off. A last line that lacks only its newline is completed. A file whose header is torn
    becomes empty: nothing was requested before the header was complete. Anything else that is wrong raises
    `EvidenceError` with the byte offset, and nothing is changed. Raises `UsageError` if another process has the
    file open for writing, and if the file system cannot lock files.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o644)
    except OSError as error:
        raise EvidenceError(f"{path}: the checkpoint cannot be opened: {error.strerror}") from error
    try:
        _lock(descriptor, path)
        contents = _read(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return OpenCheckpoint(path, descriptor, contents)


def _read(descriptor: int, path: Path, known: Contents | None = None) -> Contents:
    """Read the file, or what follows `known`, which this process has read and synced, and which no writer cuts off."""
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        if known is not None and os.fstat(descriptor).st_size < known.good_bytes:
            known = None
        stream.seek(0 if known is None else known.good_bytes)
        contents = read_stream(stream, path, known)
    _repair(descriptor, path, contents)
    return contents


def _lock(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise EvidenceError(f"{path}: is not a plain file")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"{path}: another process is writing this checkpoint; wait until it ends, or use another results folder"
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path}: this file system cannot lock files ({error.strerror}), so two sessions could write one "
            "checkpoint; use a results folder on another file system"
        ) from error
    try:
        same = os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        same = False
    if not same:
        raise UsageError(f"{path}: was replaced while it was being opened; run the command again")


def _repair(descriptor: int, path: Path, contents: Contents) -> None:
    """Make the file end with a whole line, durably."""
    try:
        if contents.tail == "torn":
            os.ftruncate(descriptor, contents.good_bytes)
        elif contents.tail == "unterminated":
            os.write(descriptor, b"\n")
            contents.good_bytes += 1
        os.fsync(descriptor)
        fsync_folder(path.parent)
    except OSError as error:
        raise EvidenceError(
            f"{path}: the end of the checkpoint cannot be repaired: {error.strerror}"
        ) from error
