"""Exclusive use of an endpoint, or of a host for load, among all sessions on one machine.

A lease is two locks. An flock on a file in a folder that belongs to the user excludes the user's other sessions, and
the file names the holder. A name bound in the kernel's abstract socket namespace excludes other users, without a file
that one of them could replace by a link. The name is valid within one network namespace: containers that share neither
the namespace nor the folder do not see each other's leases.

The kernel releases both locks when the holder ends, for any reason. Child processes that are forked without exec would
share them; this package starts none. A lock is lost if something removes its file or closes its descriptor: the lease
then records it, and ends with an error.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench import clock
from pytest_bench.errors import BenchError

Scope = Literal["endpoint", "host", "file"]

FOLDER_VARIABLE = "PYTEST_BENCH_LEASES"
_POLL_S = 0.05


class Busy(BenchError):
    """Another session holds the lease, and the caller does not wait."""

    code = "busy"


class LeaseLost(BenchError):
    """A lease did not exclude other sessions until its end."""

    code = "lease-lost"


class Lease(msgspec.Struct, kw_only=True, tag="lease"):
    """An interval in which a point had exclusive use of an endpoint or a host."""

    point: str
    worker: str = "main"
    """The process that ran the point."""
    scope: Scope
    resource: str
    """HOST:PORT of a server that the endpoint's URL resolves to, or the name of the host."""
    boot_id: str
    start_ns: int
    """CLOCK_MONOTONIC after the lock was taken; comparable only within one `boot_id`."""
    end_ns: int | None = None
    """CLOCK_MONOTONIC before the lock was released; None while it is held."""
    lost: bool = False
    """Whether the lock was no longer held at `end_ns`."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The holder of a lease, as written in the lease file."""

    pid: int
    nonce: str
    """Nonce of the holder's session."""
    point: str
    since: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        return f"{self.point} of session {self.nonce} (pid {self.pid}, since {self.since})"


def lease_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of this user's lease files, created with mode 0700.

    Only `$PYTEST_BENCH_LEASES` changes it; sessions with different values do not see each other's leases. Raises
    `BenchError` for a folder that another user could write to, because a lock there would protect nothing.
    """
    # Not tempfile.gettempdir(): sessions with different TMPDIR must meet.
    folder = Path(environ.get(FOLDER_VARIABLE) or f"/tmp/pytest-inference-bench-{os.geteuid()}").absolute()  # noqa: S108 # ownership and mode are checked below
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    if not _is_own(folder) or stat.S_IMODE(folder.lstat().st_mode) & 0o077:
        raise BenchError(
            f"{folder}: the lease folder must have mode 0700, belong to user {os.geteuid()}, and not be a link; "
            "remove it"
        )
    return folder


@contextlib.contextmanager
def acquire(
    scope: Scope,
    resource: str,
    *,
    nonce: str,
    point: str,
    worker: str = "main",
    record: Callable[[Lease], None] | None = None,
    wait: bool = True,
    on_wait: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> Iterator[Lease]:
    """Hold `resource` exclusively while the block runs. Not re-entrant, not even within one process.

    `record` is called when the lease is acquired and when it is released. Each `resource` of an endpoint or a file has
    its own lease; all names of the `host` share one. While another session holds the lease, `on_wait` is called with a
    sentence that names the holder, once per holder; with `wait=False` that sentence is raised as `Busy` instead.
    `folder` defaults to `lease_folder()`. Raises `LeaseLost` at the end if the lock was lost.
    """
    # An explicit folder has its own set of leases. The default folder differs between users, who must share one set.
    realm = str(folder) if folder else os.environ.get(FOLDER_VARIABLE, "")
    name, what = _file_name(scope, resource), f"{scope} {resource}"
    report = on_wait if wait else _refuse
    path = (folder or lease_folder()) / name
    with contextlib.ExitStack() as locks:
        file = _lock(path, what, report)
        locks.callback(file.unlock)
        holder = Holder(pid=os.getpid(), nonce=nonce, point=point, since=clock.utc_now())
        os.ftruncate(file.number, 0)
        os.pwrite(file.number, msgspec.json.encode(holder), 0)
        bound = _bind(f"{realm}\0{name}", what, report)
        locks.callback(bound.close)
        lease = Lease(
            point=point,
            worker=worker,
            scope=scope,
            resource=resource,
            boot_id=clock.boot_id(),
            start_ns=clock.monotonic_ns(),
        )
        if record is not None:
            record(lease)
        try:
            yield lease
        finally:
            lease.end_ns = clock.monotonic_ns()
            lease.lost = not (file.is_at(path) and bound.is_open())
            if record is not None:
                record(lease)
    if lease.lost:
        raise LeaseLost(
            f"the {what} was not held until {point} had ended: something removed {path} or closed its descriptor, so "
            "another session may have disturbed the measurement; keep clean-up jobs away from the folder, and run it "
            "again"
        )


@contextlib.contextmanager
def acquire_all(
    wanted: Iterable[tuple[Scope, str]], hold: Callable[[Scope, str], AbstractContextManager[Lease]]
) -> Iterator[tuple[Lease, ...]]:
    """Hold several resources, each once. All callers acquire them in the same order, which prevents deadlocks.

    `hold` is `acquire` with its options.
    """
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(hold(*one)) for one in sorted(set(wanted)))


def _file_name(scope: Scope, resource: str) -> str:
    # Containers that share the folder, and so the machine, may have different host names.
    return (
        "host.lease" if scope == "host" else f"{scope}-{hashlib.sha256(resource.encode()).hexdigest()}.lease"
    )


def _refuse(sentence: str) -> None:
    raise Busy(f"{sentence}; wait for it to end, or end it")


class _Descriptor:
    """A descriptor that something else may close. Its number may then be that of another file, which is left alone."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._status = os.fstat(number)

    def is_open(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.number), self._status)
        except OSError:
            return False

    def is_at(self, path: Path) -> bool:
        """Whether it is the file at `path`."""
        try:
            return self.is_open() and os.path.samestat(path.lstat(), self._status)
        except OSError:
            return False

    def unlock(self) -> None:
        if self.is_open():
            os.ftruncate(self.number, 0)
            fcntl.flock(self.number, fcntl.LOCK_UN)
        self.close()

    def close(self) -> None:
        if self.is_open():
            os.close(self.number)


def _lock(path: Path, what: str, on_wait: Callable[[str], None] | None) -> _Descriptor:
    """Lock a file and return its descriptor. Closing the descriptor releases the lock."""
    reported: str | None = None
    while True:
        with contextlib.ExitStack() as unless_locked:
            file = _Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            unless_locked.callback(file.close)
            # A cleanup job may have removed the file in the meantime; other sessions would then lock a new file.
            if _take(file.number) and file.is_at(path):
                unless_locked.pop_all()
                return file
            holder = _read_holder(file.number)
        sentence = f"the {what} is in use by {holder or 'another session'}"
        if on_wait is not None and sentence != reported:
            reported = sentence
            on_wait(sentence)
        time.sleep(_POLL_S)


def _bind(name: str, what: str, on_wait: Callable[[str], None] | None) -> _Descriptor:
    """Bind a socket name, which is unique within the network namespace. Closing the descriptor releases the name."""
    address = f"\0pytest-inference-bench/{hashlib.sha256(name.encode()).hexdigest()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holding:
        while True:
            try:
                holding.bind(address)
                return _Descriptor(holding.detach())
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if on_wait is not None:
                on_wait(f"the {what} is in use by a session of another user or container")
                on_wait = None
            time.sleep(_POLL_S)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> Holder | None:
    """Return the holder, or None if it has not written its name yet."""
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Holder)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_own(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
