"""Exclusive use of an endpoint, or of a host for load, among all sessions on one machine.

A lease is two locks. An flock on a file in a folder that belongs to the user excludes the user's other sessions, and
the file names the holder. A name bound in the kernel's abstract socket namespace excludes other users, without a file
that one of them could replace by a link. The name is valid within one network namespace: containers that share neither
the namespace nor the folder do not see each other's leases.

The kernel releases both locks when the holder ends, for any reason. Child processes that are forked without exec would
share them; this package starts none.
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
    """CLOCK_BOOTTIME after the lock was taken; comparable only within one `boot_id`."""
    end_ns: int | None = None
    """CLOCK_BOOTTIME before the lock was released; None while it is held."""


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
    `folder` defaults to `lease_folder()`.
    """
    # An explicit folder has its own set of leases. The default folder differs between users, who must share one set.
    realm = str(folder) if folder else os.environ.get(FOLDER_VARIABLE, "")
    name, what = _file_name(scope, resource), f"{scope} {resource}"
    report = on_wait if wait else _refuse
    descriptor = _lock((folder or lease_folder()) / name, what, report)
    try:
        holder = Holder(pid=os.getpid(), nonce=nonce, point=point, since=clock.utc_now())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        try:
            with _bound(f"{realm}\0{name}", what, report):
                lease = Lease(
                    point=point,
                    worker=worker,
                    scope=scope,
                    resource=resource,
                    boot_id=clock.boot_id(),
                    start_ns=clock.boottime_ns(),
                )
                if record is not None:
                    record(lease)
                try:
                    yield lease
                finally:
                    lease.end_ns = clock.boottime_ns()
                    if record is not None:
                        record(lease)
        finally:
            os.ftruncate(descriptor, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def acquire_all(
    wanted: Iterable[tuple[Scope, str]],
    *,
    nonce: str,
    point: str,
    worker: str = "main",
    record: Callable[[Lease], None] | None = None,
    wait: bool = True,
    on_wait: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> Iterator[tuple[Lease, ...]]:
    """Hold several resources, each once. All callers acquire them in the same order, which prevents deadlocks."""
    with contextlib.ExitStack() as stack:
        yield tuple(
            stack.enter_context(
                acquire(
                    scope,
                    resource,
                    nonce=nonce,
                    point=point,
                    worker=worker,
                    record=record,
                    wait=wait,
                    on_wait=on_wait,
                    folder=folder,
                )
            )
            for scope, resource in sorted(set(wanted))
        )


def _file_name(scope: Scope, resource: str) -> str:
    # Containers that share the folder, and so the machine, may have different host names.
    return (
        "host.lease" if scope == "host" else f"{scope}-{hashlib.sha256(resource.encode()).hexdigest()}.lease"
    )


def _refuse(sentence: str) -> None:
    raise Busy(f"{sentence}; wait for it to end, or end it")


def _lock(path: Path, what: str, on_wait: Callable[[str], None] | None) -> int:
    """Lock a file and return its descriptor. Closing the descriptor releases the lock."""
    reported: str | None = None
    while True:
        with contextlib.ExitStack() as unless_locked:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            unless_locked.callback(os.close, descriptor)
            if _take(path, descriptor):
                unless_locked.pop_all()
                return descriptor
            holder = _read_holder(descriptor)
        sentence = f"the {what} is in use by {holder or 'another session'}"
        if on_wait is not None and sentence != reported:
            reported = sentence
            on_wait(sentence)
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _bound(name: str, what: str, on_wait: Callable[[str], None] | None) -> Iterator[None]:
    """Hold a socket name, which is unique within the network namespace."""
    address = f"\0pytest-inference-bench/{hashlib.sha256(name.encode()).hexdigest()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        while True:
            try:
                held.bind(address)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            if on_wait is not None:
                on_wait(f"the {what} is in use by a session of another user or container")
                on_wait = None
            time.sleep(_POLL_S)
        yield


def _take(path: Path, descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # A cleanup job may have removed the file in the meantime; other sessions would then lock a new file.
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
