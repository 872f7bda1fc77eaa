"""Who may write a results folder and a JUnit file, and what becomes of the files that lie there already.

A session claims both before anything else happens. They are red from then on, until the session has ended well.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import shutil
from contextlib import ExitStack
from pathlib import Path

import msgspec

from pytest_bench.errors import BenchError, EvidenceError, UsageError
from pytest_bench.files import write_atomic, write_json
from pytest_bench.leases import acquire
from pytest_bench.results import junit, layout
from pytest_bench.results.event_log import EventLog
from pytest_bench.results.publish import publish, release_space
from pytest_bench.results.reading import read_versioned
from pytest_bench.results.settle import settle
from pytest_bench.verdict.events import Called, Invocation
from pytest_bench.verdict.verdict import VERDICT_VERSION, Verdict, refusal

_RESERVED_BYTES = 256 << 10
_RESERVED_BYTES_A_POINT = 32 << 10
"""Ample for events, a verdict and a JUnit file."""

_MOST_LINKS = 40


def read_verdict(path: Path) -> Verdict:
    """The verdict in a file. Raises `EvidenceError`."""
    return read_versioned(path, Verdict, VERDICT_VERSION)


class Claim:
    """A results folder and a JUnit file that belong to this session alone until `close`."""

    def __init__(self, results: Path, junit_file: Path | None, nonce: str, *, is_named: bool) -> None:
        """`results` is absolute, and `is_named` if the call names it; `junit_file` is None for `junit.xml` in it."""
        self.results = results
        self.nonce = nonce
        self._given = junit_file
        self._is_named = is_named
        self.junit = layout.JUNIT
        """The JUnit file as events name it: relative to the results folder if it is inside."""
        self._held = ExitStack()
        self._is_locked = self._has_junit = False

    def take(self, process: str, called: Called) -> EventLog:
        """Claim both, turn them red and start the event log of `process`.

        A link at `results/latest` points to a folder with a default name. Raises `UsageError` for a used folder, for
        one that another session is using, for a JUnit file that another session is writing, and for what cannot be
        written.
        """
        try:
            target = None if self._given is None else self._plain_target(self._given)
        except OSError as error:
            raise _unwritable("--junitxml", error, self._given) from error
        self._refuse_misplaced(target)
        try:
            self._require_unused()
            self.results.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._require_unused()  # another session may have ended in the meantime
            self._remove_refused()
            log = EventLog.create(self.results, process, self.nonce)
            self.reserve(0)
        except OSError as error:
            raise UsageError(
                f"--results: {error.filename or self.results}: {error.strerror}; name a folder that can be written, "
                "with room for a verdict"
            ) from error
        try:
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
            self._hold_junit(target or self.results / layout.JUNIT)
            self.junit = self._relative(target)
            log.append(msgspec.structs.replace(called, junit=self.junit))
            publish(self.results, settle(self.results))
            if not self._is_named:
                point_latest(self.results)
        except OSError as error:
            raise _unwritable("--junitxml", error, target) from error
        return log

    def reserve(self, points: int) -> None:
        """Keep room for the verdict: should evidence fill the disk, there is still some to say so.

        Raises `OSError`.
        """
        size_bytes = _RESERVED_BYTES + _RESERVED_BYTES_A_POINT * points
        try:
            with (self.results / layout.RESERVE).open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, size_bytes)
        except OSError:
            release_space(self.results)
            raise

    def refuse(self, sentence: str, invocation: Invocation) -> str:
        """After a refusal: no earlier file under the given names looks good any more.

        An earlier verdict and JUnit file are kept beside the new ones; the line that is returned says how to have
        them back. What cannot be written is left alone: the exit status says it all.
        """
        red = refusal(nonce=self.nonce, sentence=sentence, invocation=invocation)
        rendered = junit.render(red)
        with contextlib.suppress(OSError, BenchError):
            target = None if self._given is None else self._plain_target(self._given)
            if target is not None and target.parent.is_dir():
                self._refuse_misplaced(target)
                self._hold_junit(target)
                write_atomic(target, rendered)
        told = ""
        with contextlib.suppress(OSError, BenchError):
            stale = any(os.path.lexists(self.results / name) for name in (layout.VERDICT, layout.JUNIT))
            if stale or self._is_locked or (self._is_named and not os.path.lexists(self.results)):
                self.results.mkdir(parents=True, exist_ok=True)
                self._lock()
                told = self._set_aside()
                write_json(self.results / layout.VERDICT, red)
                if self._given is None or self._relative(self._given) != layout.JUNIT:
                    write_atomic(self.results / layout.JUNIT, rendered)
        return told

    def close(self) -> None:
        """Let other sessions have the folder and the JUnit file."""
        if self._is_locked:
            release_space(self.results)
        self._held.close()

    def _require_unused(self) -> None:
        if os.path.lexists(self.results) and not (self.results.is_dir() and self._is_unused()):
            raise UsageError(
                f"--results: {self.results} holds something already; name a new folder, or leave --results out"
            )

    def _is_unused(self) -> bool:
        """Whether the folder holds nothing, or only what a refused call left, which is no evidence."""
        names = {path.name for path in self.results.iterdir()} - {layout.LOCK}
        left = {layout.VERDICT, layout.JUNIT, layout.EVENTS, layout.PLAN, layout.ENVIRONMENT, layout.RESERVE}
        if self._given is not None:
            left.add(self._given.name)
        return not names or (names <= left and self._is_refusal())

    def _is_refusal(self) -> bool:
        try:
            return read_verdict(self.results / layout.VERDICT).refused
        except EvidenceError:
            return False

    def _remove_refused(self) -> None:
        """Remove what a refused call left."""
        for name in {path.name for path in self.results.iterdir()} - {layout.LOCK}:
            path = self.results / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Keep other sessions out of the folder. Raises `UsageError` if one is using it."""
        if self._is_locked:
            return
        path = self.results / layout.LOCK
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its session may have removed it since it was opened: others would lock another file.
            ours = os.path.samestat(path.lstat(), os.fstat(held))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            os.close(held)
            raise UsageError(
                f"--results: {self.results} is in use by a session that is running; name a new folder"
            )
        self._is_locked = True
        self._held.callback(os.close, held)
        # While it is still locked: whoever has opened it since will notice.
        self._held.callback(path.unlink, missing_ok=True)

    def _hold_junit(self, target: Path) -> None:
        """Keep other sessions away from the JUnit file. Raises `UsageError` if one is writing it."""
        if self._has_junit:
            return
        try:
            self._held.enter_context(
                acquire("file", os.path.realpath(target), nonce=self.nonce, point="pytest", wait=False)
            )
        except BenchError as error:
            raise UsageError(f"--junitxml: {error}; or name another file") from error
        self._has_junit = True

    def _refuse_misplaced(self, target: Path | None) -> None:
        """Raises `UsageError` if the JUnit file would replace another file of the results folder."""
        relative = "" if target is None else self._relative(target)
        if not Path(relative).is_absolute() and relative.partition("/")[0] in layout.NAMES:
            raise UsageError(
                f"--junitxml: {self._given} is a name that the results folder itself uses; name {layout.JUNIT}"
            )

    def _relative(self, target: Path | None) -> str:
        if target is None:
            return layout.JUNIT
        for results in (self.results, Path(os.path.realpath(self.results))):
            if target.is_relative_to(results):
                return target.relative_to(results).as_posix()
        return str(target)

    def _plain_target(self, path: Path) -> Path:
        """The file that `path` leads to, links followed. Raises `OSError` for a device or anything like it."""
        for _ in range(_MOST_LINKS):
            if path.is_relative_to("/dev") or path.is_relative_to("/proc"):
                raise OSError(errno.EINVAL, "is a device", str(path))
            if not path.is_symlink():
                break
            path = Path(os.path.normpath(path.parent / path.readlink()))
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "is not a plain file", str(path))
        return path

    def _set_aside(self) -> str:
        """Keep the verdict and the JUnit file of an earlier session, if there are any, under other names."""
        if self._is_refusal():  # a refusal says nothing that is worth keeping
            return ""
        try:
            old = read_verdict(self.results / layout.VERDICT).nonce
        except EvidenceError:
            old = f"unreadable-{self.nonce}"
        if old == self.nonce:
            return ""
        for name, aside in _kept_names(old).items():
            if os.path.lexists(self.results / name):
                (self.results / name).rename(self.results / aside)
        return way_back(self.results, old) or ""


def way_back(results: Path, nonce: str) -> str | None:
    """How to restore the verdict of the session `nonce`; None if it was not set aside."""
    kept = {name: aside for name, aside in _kept_names(nonce).items() if (results / aside).is_file()}
    if layout.VERDICT not in kept:
        return None
    moves = " && ".join(f"mv {shlex.quote(aside)} {name}" for name, aside in kept.items())
    return (
        f"the verdict of the session in {results} is kept as {kept[layout.VERDICT]}; to have it back: "
        f"(cd {shlex.quote(str(results))} && {moves})"
    )


def kept_names(nonce: str) -> frozenset[str]:
    """Names under which files of the session `nonce` are set aside."""
    return frozenset(_kept_names(nonce).values())


def _kept_names(nonce: str) -> dict[str, str]:
    return {layout.VERDICT: f"verdict.{nonce}.json", layout.JUNIT: f"junit.{nonce}.xml"}


def point_latest(results: Path) -> None:
    """Let `results/latest` point at this session. A link that appears whole or not at all. Raises `OSError`."""
    temporary = results.parent / f".{layout.LATEST}.{results.name}"
    temporary.symlink_to(results.name, target_is_directory=True)
    temporary.replace(results.parent / layout.LATEST)


def _unwritable(option: str, error: OSError, path: Path | None) -> UsageError:
    return UsageError(f"{option}: {error.filename or path}: {error.strerror or error}; name another file")
