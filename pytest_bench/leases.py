"""Exclusive use of an endpoint, or of a host for load, among all sessions on one machine.

A lease is two locks. An flock on a file in a folder that belongs to the user keeps out the user's other
sessions, and the file says who holds it. A name bound in the kernel's abstract socket namespace keeps out
other users, with no file that one of them could put a link in place of. It reaches as far as a network
namespace: containers that share neither that nor the folder do not see each other.

The kernel gives both back when their holder ends, however that happens. They are shared with children that
are forked without exec; none of ours is.
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

ELSEWHERE = "PYTEST_BENCH_LEASES"
_POLL_S = 0.05


class Busy(BenchError):
    """Somebody else holds the lease, and the caller did not want to wait."""

    code = "busy"


class Lease(msgspec.Struct, kw_only=True, tag="lease"):
    """A stretch of time during which a point held an endpoint or a host for itself."""

    point: str
    worker: str = "main"
    """The process that ran the point."""
    scope: Scope
    resource: str
    """A server that the endpoint's URL leads to, as HOST:PORT; the host's name."""
    boot_id: str
    start_ns: int
    """CLOCK_BOOTTIME after the lock was taken; comparable within one `boot_id` only."""
    end_ns: int | None = None
    """CLOCK_BOOTTIME before the lock was given back; None while it is held."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lease, as the lease file tells those who wait."""

    pid: int
    nonce: str
    """The session's."""
    point: str
    since: str
    """ISO 8601, UTC."""

    def __str__(self) -> str:
        return f"{self.point} of session {self.nonce} (pid {self.pid}, since {self.since})"


def lease_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's lease files lie, whatever the environment; made with mode 0700.

    `$PYTEST_BENCH_LEASES` alone moves it, for those who mean it: sessions that differ in it do not see each
    other. Raises `BenchError` for a folder that somebody else could write to: a lock there keeps nobody out.
    """
    # Not tempfile.gettempdir(): sessions with different TMPDIR must meet.
    folder = Path(environ.get(ELSEWHERE) or f"/tmp/pytest-inference-bench-{os.geteuid()}").absolute()  # noqa: S108 # ownership and mode are checked below
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True)
    if not _is_own(folder) or stat.S_IMODE(folder.lstat().st_mode) & 0o077:
        raise BenchError(
            f"{folder}: leases need a folder of mode 0700 that belongs to user {os.geteuid()} and is no link; "
            "remove what is there"
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
    """Hold `resource` alone while the block runs. Not re-entrant, not even within one process.

    `record` is called when the lease is taken and when it is given back. There is one lease for each
    `resource` of an endpoint or a file, and a single one for `host` whatever it is called. While another
    holds it, `on_wait` gets a sentence naming the holder, once for each holder; with `wait=False` that
    sentence is raised as `Busy` instead. `folder` defaults to `lease_folder()`.
    """
    # A folder that was asked for is a machine of its own; the usual one differs from user to user.
    realm = str(folder) if folder else os.environ.get(ELSEWHERE, "")
    name, what = _file_name(scope, resource), f"{scope} {resource}"
    tell = on_wait if wait else _refuse
    descriptor = _lock((folder or lease_folder()) / name, what, tell)
    try:
        holder = Holder(pid=os.getpid(), nonce=nonce, point=point, since=clock.utc_now())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(holder), 0)
        try:
            with _bound(f"{realm}\0{name}", what, tell):
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
    """Hold several resources, each once, taken in one order everywhere so that no two wait for each other."""
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
    # A host's name may differ between containers that share the folder, and with it the machine.
    return (
        "host.lease" if scope == "host" else f"{scope}-{hashlib.sha256(resource.encode()).hexdigest()}.lease"
    )


def _refuse(sentence: str) -> None:
    raise Busy(f"{sentence}; wait for it to end, or end it")


def _lock(path: Path, what: str, on_wait: Callable[[str], None] | None) -> int:
    """Descriptor of the locked file; closing it gives the lock back."""
    told: str | None = None
    while True:
        with contextlib.ExitStack() as unless_locked:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            unless_locked.callback(os.close, descriptor)
            if _take(path, descriptor):
                unless_locked.pop_all()
                return descriptor
            holder = _read_holder(descriptor)
        sentence = f"the {what} is in use by {holder or 'another session'}"
        if on_wait is not None and sentence != told:
            told = sentence
            on_wait(sentence)
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _bound(name: str, what: str, on_wait: Callable[[str], None] | None) -> Iterator[None]:
    """Hold a name that one socket of the network namespace can have at a time."""
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
    # A cleaner of old files may have removed the name since: others would lock another file.
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_holder(descriptor: int) -> Holder | None:
    """None where the holder has not written its name yet."""
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
