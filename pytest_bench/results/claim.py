"""Exclusive write access to a results folder and a JUnit file, and the handling of files that exist already.

A session claims both first. From then on the files are red, until the session ends with verdict `pass`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
from contextlib import ExitStack
from pathlib import Path

import msgspec

from pytest_bench.errors import BenchError, EvidenceError, UsageError
from pytest_bench.files import write_atomic, write_json
from pytest_bench.leases import LeaseLost, acquire
from pytest_bench.results import junit, layout
from pytest_bench.results.event_log import EventLog
from pytest_bench.results.lock import FolderInUse, hold_folder
from pytest_bench.results.publish import release_space, write_verdict
from pytest_bench.results.reading import read_versioned
from pytest_bench.results.resuming import require_resumable, set_aside
from pytest_bench.verdict.events import Called, Invocation
from pytest_bench.verdict.verdict import VERDICT_VERSION, Verdict, refusal

_RESERVED_BYTES = 256 << 10
_RESERVED_BYTES_A_POINT = 32 << 10
"""Enough space for events, a verdict and a JUnit file."""

_MOST_LINKS = 40


def read_verdict(path: Path) -> Verdict:
    """Read a verdict file. Raises `EvidenceError`."""
    return read_versioned(path, Verdict, VERDICT_VERSION)


class Claim:
    """Exclusive access of this session to a results folder and a JUnit file, until `close`."""

    def __init__(
        self, results: Path, junit_file: Path | None, nonce: str, *, is_named: bool, resumes: bool = False
    ) -> None:
        """`results` is absolute; `is_named`: whether the call names it; `junit_file` None means `junit.xml` in it.

        `resumes`: continue the session in the folder instead of requiring an unused one.
        """
        self.results = results
        self.nonce = nonce
        self._given = junit_file
        self._is_named = is_named
        self._resumes = resumes
        self.junit = layout.JUNIT
        """The JUnit file as events name it: relative to the results folder if inside of it."""
        self._held = ExitStack()
        self._is_locked = self._has_junit = False
        self._made_parent = False
        self._latest_before: str | None = None

    def take(self, process: str, called: Called) -> EventLog:
        """Claim both, write red files, and start the event log of `process`.

        The link `results/latest` is set if the folder has a default name. Raises `UsageError` if the folder is not
        empty, if another session uses the folder or the JUnit file, or if either cannot be written.
        """
        try:
            target = None if self._given is None else self._plain_target(self._given)
        except OSError as error:
            raise _unwritable("--junitxml", error, self._given) from error
        self._refuse_misplaced(target)
        try:
            self._require_usable()
            self._made_parent = not self.results.parent.exists()
            self.results.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._require_usable()  # another session may have ended in the meantime
            if self._resumes:
                set_aside(self.results, self.nonce)
            else:
                self._remove_refused()
            log = EventLog.create(self.results, process, self.nonce)
            self.reserve(0)
        except OSError as error:
            raise UsageError(
                f"--results: {error.filename or self.results}: {error.strerror}; name a writable folder "
                "with free space for a verdict"
            ) from error
        try:
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
            self._hold_junit(target or self.results / layout.JUNIT)
            self.junit = self._relative(target)
            log.append(msgspec.structs.replace(called, junit=self.junit))
            write_verdict(self.results)
            if not self._is_named:
                self._latest_before = latest_target(self.results)
                point_latest(self.results)
        except OSError as error:
            raise _unwritable("--junitxml", error, target) from error
        return log

    def reserve(self, points: int) -> None:
        """Reserve space for the verdict, so that it can be written even if evidence fills the disk.

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
        """Write red files after a refusal, so that no earlier file under the given names is taken for this call's, and
        release the claim. Returns `sentence`, with a line that says how to restore what was renamed, if anything was.

        An earlier verdict and JUnit file are renamed. Files that cannot be written are ignored, because the exit status
        reports the refusal.
        """
        red = refusal(nonce=self.nonce, sentence=sentence, invocation=invocation)
        rendered = junit.render(red)
        with contextlib.suppress(OSError, BenchError):
            target = None if self._given is None else self._plain_target(self._given)
            if target is not None and target.parent.is_dir():
                self._refuse_misplaced(target)
                self._hold_junit(target)
                write_atomic(target, rendered)
        hint = ""
        with contextlib.suppress(OSError, BenchError):
            stale = any(os.path.lexists(self.results / name) for name in (layout.VERDICT, layout.JUNIT))
            if stale or self._is_locked or (self._is_named and not os.path.lexists(self.results)):
                self.results.mkdir(parents=True, exist_ok=True)
                self._lock()
                hint = self._back_up()
                write_json(self.results / layout.VERDICT, red)
                if self._given is None or self._relative(self._given) != layout.JUNIT:
                    write_atomic(self.results / layout.JUNIT, rendered)
        self.withdraw()
        self.close()
        return f"{sentence}\n{hint}" if hint else sentence

    def withdraw(self) -> None:
        """After a refusal: remove the folder unless the call named it, and restore `results/latest`.

        A named folder stays red, because the user who named it will read it. Files that cannot be removed are ignored.
        """
        if self._is_named or self._resumes or not self._is_locked:
            return
        with contextlib.suppress(OSError):
            if latest_target(self.results) == self.results.name:
                before = self._latest_before
                if before is not None and (self.results.parent / before).exists():
                    point_latest(self.results, before)
                else:
                    (self.results.parent / layout.LATEST).unlink()
        shutil.rmtree(self.results, ignore_errors=True)
        if self._made_parent:
            with contextlib.suppress(OSError):
                self.results.parent.rmdir()

    def close(self) -> None:
        """Release the folder and the JUnit file."""
        if self._is_locked:
            release_space(self.results)
        with contextlib.suppress(LeaseLost):  # the JUnit file is written by now
            self._held.close()

    def _require_usable(self) -> None:
        if self._resumes:
            require_resumable(self.results)
        elif os.path.lexists(self.results) and not (self.results.is_dir() and self._is_unused()):
            raise UsageError(
                f"--results: {self.results} is not empty; name a new folder, or remove --results"
            )

    def _is_unused(self) -> bool:
        """Whether the folder is empty or contains only files of a refused call, which are not evidence."""
        names = {path.name for path in self.results.iterdir()} - {layout.LOCK}
        left = {layout.VERDICT, layout.JUNIT, layout.EVENTS, layout.PLAN, layout.ENVIRONMENT, layout.RESERVE}
        left.add(layout.NODE_FACTS)
        if self._given is not None:
            left.add(self._given.name)
        return not names or (names <= left and self._is_refusal())

    def _is_refusal(self) -> bool:
        try:
            return read_verdict(self.results / layout.VERDICT).refused
        except EvidenceError:
            return False

    def _remove_refused(self) -> None:
        """Remove the files of a refused call."""
        for name in {path.name for path in self.results.iterdir()} - {layout.LOCK}:
            path = self.results / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Lock the folder. Raises `UsageError` if another session uses it."""
        if self._is_locked:
            return
        try:
            self._held.enter_context(hold_folder(self.results))
        except FolderInUse as error:
            raise UsageError(
                f"--results: {self.results} is in use by a running session; name a new folder"
            ) from error
        self._is_locked = True

    def _hold_junit(self, target: Path) -> None:
        """Lock the JUnit file. Raises `UsageError` if another session uses it."""
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
                f"--junitxml: {self._given} is reserved in the results folder; use {layout.JUNIT}"
            )

    def _relative(self, target: Path | None) -> str:
        if target is None:
            return layout.JUNIT
        for results in (self.results, Path(os.path.realpath(self.results))):
            if target.is_relative_to(results):
                return target.relative_to(results).as_posix()
        return str(target)

    def _plain_target(self, path: Path) -> Path:
        """Resolve the links of `path`. Raises `OSError` if the target is not a plain file."""
        for _ in range(_MOST_LINKS):
            if path.is_relative_to("/dev") or path.is_relative_to("/proc"):
                raise OSError(errno.EINVAL, "is a device", str(path))
            if not path.is_symlink():
                break
            path = Path(os.path.normpath(path.parent / path.readlink()))
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "is not a plain file", str(path))
        return path

    def _back_up(self) -> str:
        """Rename the verdict and the JUnit file of an earlier session; return how to restore them, or ''."""
        if self._is_refusal():  # a refusal contains nothing worth keeping
            return ""
        try:
            old = read_verdict(self.results / layout.VERDICT).nonce
        except EvidenceError:
            old = f"unreadable-{self.nonce}"
        if old == self.nonce:
            return ""
        for name, backup in _backup_paths(old).items():
            if os.path.lexists(self.results / name):
                (self.results / name).rename(self.results / backup)
        return restore_hint(self.results, old) or ""


def restore_hint(results: Path, nonce: str) -> str | None:
    """Return a line that says how to restore the verdict of the session `nonce`; None if it was not renamed."""
    kept = {name: backup for name, backup in _backup_paths(nonce).items() if (results / backup).is_file()}
    if layout.VERDICT not in kept:
        return None
    moves = " && ".join(f"mv {shlex.quote(backup)} {name}" for name, backup in kept.items())
    return (
        f"the verdict of the session in {results} is kept as {kept[layout.VERDICT]}; to restore it: "
        f"(cd {shlex.quote(str(results))} && {moves})"
    )


def backup_names(nonce: str) -> frozenset[str]:
    """Return the names that files of the session `nonce` are renamed to."""
    return frozenset(_backup_paths(nonce).values())


def _backup_paths(nonce: str) -> dict[str, str]:
    return {
        layout.VERDICT: f"verdict.{nonce}.json",
        layout.JUNIT: f"junit.{nonce}.xml",
        layout.SUMMARY_CSV: f"summary.{nonce}.csv",
        layout.SUMMARY_JSON: f"summary.{nonce}.json",
    }


def latest_target(results: Path) -> str | None:
    """Return what the link `latest` beside a results folder names; None if there is none."""
    try:
        return str((results.parent / layout.LATEST).readlink())
    except OSError:
        return None


def point_latest(results: Path, target: str | None = None) -> None:
    """Set the link `latest` beside a results folder to it, or to `target`, atomically. Raises `OSError`."""
    temporary = results.parent / f".{layout.LATEST}.{results.name}"
    temporary.symlink_to(target or results.name, target_is_directory=True)
    temporary.replace(results.parent / layout.LATEST)


def _unwritable(option: str, error: OSError, path: Path | None) -> UsageError:
    return UsageError(f"{option}: {error.filename or path}: {error.strerror or error}; name another file")
