"""The processes in a container, from the files of its /proc.

`Probe` runs `cat` and `ls` in the container to read the files; everything else is a pure function of their bytes. A
process can be read by its own user; root in a container usually cannot read those of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

_LISTEN = b"0A"
_OWNED = re.compile(rb"-> socket:\[([0-9]+)\]")
_FOLDER = re.compile(rb"/proc/([0-9]+)/fd:")

Run = Callable[[Sequence[str], str], tuple[int, bytes]]
"""Runs a program in the container as a user, and returns its exit status and its standard output."""

# The patterns are expanded by the container's shell. Nothing is interpolated.
_LIST_SOCKETS = ("sh", "-c", "ls -l /proc/[0-9]*/fd 2>/dev/null")
_LIST_PROCESSES = ("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null")
_LIST_USERS = ("sh", "-c", "ls -ldn /proc/[0-9]*")
_ROOT = "0"
_TABLES = ("cat", "/proc/net/tcp", "/proc/net/tcp6")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process, as its /proc shows it."""

    pid: int
    """In the container."""
    environ: bytes
    cmdline: bytes

    @property
    def is_retitled(self) -> bool:
        """Whether it has overwritten its arguments and environment with a title, as vLLM and SGLang do.

        A title and the NULs after it leave entries that are not `NAME=VALUE`. A process that was started without
        variables has an empty file.
        """
        return bool(self.environ) and not all(
            re.match(rb"[^=]+=", entry) for entry in self.environ.removesuffix(b"\0").split(b"\0")
        )

    @property
    def arguments(self) -> list[str]:
        """Its command line, one item for each argument."""
        text = self.cmdline.removesuffix(b"\0").decode("utf-8", "surrogateescape")
        return text.split("\0") if text else []


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """The process that listens on the port, and the one whose environment and arguments represent it."""

    pid: int
    source: Process | None
    """The process itself, or its nearest ancestor that is not retitled; None if there is none."""


def listening_sockets(tables: bytes, port: int) -> set[int]:
    """Inodes of the sockets that listen on `port`, from /proc/net/tcp and /proc/net/tcp6.

    Format: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    suffix = b":%04X" % port
    rows = (line.split() for line in tables.splitlines())
    return {
        int(row[9]) for row in rows if len(row) > 9 and row[3] == _LISTEN and row[1].upper().endswith(suffix)
    }


def owners(listing: bytes, sockets: Iterable[int]) -> list[int]:
    """Ids of the processes that hold one of `sockets`, from `ls -l /proc/[0-9]*/fd`."""
    wanted = {b"%d" % inode for inode in sockets}
    found: dict[int, None] = {}
    pid = None
    for line in listing.splitlines():
        if folder := _FOLDER.fullmatch(line.strip()):
            pid = int(folder[1])
        elif pid is not None and (held := _OWNED.search(line)) and held[1] in wanted:
            found[pid] = None
    return list(found)


def users(listing: bytes) -> dict[int, str]:
    """The numeric user of each process, from `ls -ldn /proc/[0-9]*`."""
    rows = (line.split() for line in listing.splitlines())
    return {
        int(row[-1].removeprefix(b"/proc/")): row[2].decode()
        for row in rows
        if len(row) > 3 and re.fullmatch(rb"/proc/[0-9]+", row[-1])
    }


def parents(stats: bytes) -> dict[int, int]:
    """The parent of each process, from /proc/[0-9]*/stat. A program's name may hold spaces and parentheses."""
    found = {}
    for line in stats.splitlines():
        head, _, rest = line.rpartition(b")")
        fields = rest.split()
        if fields[1:] and (pid := head.partition(b" ")[0]).isdigit():
            found[int(pid)] = int(fields[1])
    return found


def listeners(pids: Sequence[int], parent_of: Mapping[int, int]) -> list[int]:
    """`pids` without those that inherited the socket from another of them."""
    return [pid for pid in pids if not any(above in pids for above in ancestors(pid, parent_of))]


def ancestors(pid: int, parent_of: Mapping[int, int]) -> list[int]:
    """The parents of a process, the nearest first."""
    found: list[int] = []
    while (pid := parent_of.get(pid, 0)) and pid not in found:
        found.append(pid)
    return found


class Probe:
    """Reads /proc of a container."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def serving(self, port: int) -> list[Serving] | None:
        """Every process of the container that listens on `port`; None while nothing listens there."""
        sockets = listening_sockets(self._output(_TABLES), port)
        if not sockets:
            return None
        user_of = users(self._output(_LIST_USERS))
        parent_of = parents(self._output(_LIST_PROCESSES))
        found = dict.fromkeys(
            pid
            for user in set(user_of.values())
            for pid in owners(self._output(_LIST_SOCKETS, user), sockets)
        )
        return [
            Serving(pid=pid, source=self._source((pid, *ancestors(pid, parent_of)), user_of))
            for pid in listeners(list(found), parent_of)
        ]

    def first(self) -> Serving:
        """Process 1 of the container."""
        user_of = users(self._output(_LIST_USERS))
        return Serving(pid=1, source=self._source((1,), user_of))

    def _source(self, pids: Sequence[int], user_of: Mapping[int, str]) -> Process | None:
        """The first of `pids` that is not retitled; None if there is none, or if one before it cannot be read."""
        for pid in pids:
            status, environ = self._run(("cat", f"/proc/{pid}/environ"), user_of.get(pid, _ROOT))
            if status:
                return None
            process = Process(pid=pid, environ=environ, cmdline=self._output(("cat", f"/proc/{pid}/cmdline")))
            if not process.is_retitled:
                return process
        return None

    def _output(self, words: Sequence[str], user: str = _ROOT) -> bytes:
        """Standard output of a program. Processes may end while they are listed, so its status says nothing."""
        return self._run(words, user)[1]
