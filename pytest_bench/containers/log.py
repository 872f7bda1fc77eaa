"""The log of a container, written to a file while the container runs."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import docker
import msgspec
import requests

from pytest_bench.containers.log_classes import lines_of
from pytest_bench.redaction import redact

TAIL_LINES = 40
_LARGEST_TAIL = 64 << 10
_LONGEST_LINE = 1 << 20
"""Bytes after which a line without an end is written as it is."""
MARK = "pytest-bench-mark-"
"""What every mark begins with."""
_MARK = re.compile(rf"{MARK}[0-9a-f]+\r?\n?".encode())
_QUIET_S = 0.5
_LONGEST_SETTLE_S = 30.0


class LogFile(msgspec.Struct, frozen=True, kw_only=True):
    """The log as evidence."""

    path: str
    size_bytes: int
    lines: int
    sha256: str


class LogReader:
    """The file that a log is written to, here or on another node."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tail(self) -> str:
        """The last lines."""
        with self.path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - _LARGEST_TAIL))
            lines = stream.read().decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def lines(self, start: int = 0, end: int | None = None) -> Iterator[str]:
        """The lines from byte `start` on, to byte `end` if it is given."""
        return lines_of(self.path, start, end)


class Follower(LogReader):
    """Writes the log of a container to a file until the container ends. Secrets are replaced line by line."""

    def __init__(self, container: docker.models.containers.Container, path: Path) -> None:
        super().__init__(path)
        self._container = container
        self._received = threading.Condition()
        self._size = 0
        self._latest_s = time.monotonic()
        self._ended = False
        self._marks: Counter[str] = Counter()
        self._file = path.open("xb")
        self._thread = threading.Thread(target=self._follow, name=f"log of {container.name}", daemon=True)
        self._thread.start()

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._size

    def await_marks(self, mark: str, times: int) -> int:
        """Wait until `mark` has been read so many times, and return the size of the log in bytes, marks left out.

        What was written to the log before the mark has then been read. Without a mark (`times` is 0) it waits until
        nothing has come for a moment.
        """
        until = time.monotonic() + _LONGEST_SETTLE_S
        called_s = time.monotonic()
        with self._received:
            while not self._ended and (now := time.monotonic()) < until:
                quiet_s = now - max(self._latest_s, called_s)
                if self._marks.get(mark, 0) >= times and (times or quiet_s >= _QUIET_S):
                    break
                self._received.wait(_QUIET_S)
        return self._size

    def matches(self, pattern: re.Pattern[str]) -> bool:
        """Whether a line matches `pattern`."""
        return any(pattern.search(line) for line in self.lines())

    def close(self, timeout_s: float = 10.0) -> LogFile:
        """Wait for the rest of the log of a container that has ended. Is idempotent."""
        self._thread.join(timeout_s)
        with self.path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return LogFile(
            path=self.path.name,
            size_bytes=self.path.stat().st_size,
            lines=sum(1 for _ in self.lines()),
            sha256=digest,
        )

    def _follow(self) -> None:
        try:
            for line in whole_lines(self._container.logs(stream=True, follow=True)):
                self._write(line)
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            self._write(f"[the log could not be followed any further: {error}]\n".encode())
        finally:
            with self._received:
                self._ended = True
                self._received.notify_all()
            self._file.close()

    def _write(self, line: bytes) -> None:
        marks = [found.decode().strip() for found in _MARK.findall(line)]
        line = _MARK.sub(b"", line)
        data = redact(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        self._file.write(data)
        self._file.flush()
        with self._received:
            self._size += len(data)
            self._marks.update(marks)
            self._latest_s = time.monotonic()
            self._received.notify_all()


def whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream, each with its end. A line that is too long comes in several parts."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(rest) > _LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest
