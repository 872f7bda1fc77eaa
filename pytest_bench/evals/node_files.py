"""What each node of a job leaves in its own folder: a status file, and copies of the tables that it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from pytest_bench.cluster.combining import NodeStatus
from pytest_bench.cluster.tables import Candidate, Table, pick, read_table
from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_plain
from pytest_bench.results.reading import read_versioned

STATUS = "status.json"
STATUS_VERSION = 1
OUTPUT = "output"
"""Folder of the tool's own files, `{output}`."""
COPIES = "tables"
"""Folder with copies of tables that were found elsewhere."""
LARGEST_TABLE = 16 << 20
"""In bytes."""


class FoundTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that may hold results, as the node saw it after the command had ended."""

    source: str
    """Absolute path on the node."""
    copy: str | None
    """Path in the node's folder; None if it was not copied."""
    sha256: str | None
    modified_ns: int
    inode: int
    job: str | None
    """The job that the file belongs to; None if nothing says so."""
    problem: str = ""
    """Why it cannot be used, whatever it holds."""


class StatusFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `status.json`."""

    version: int = STATUS_VERSION
    nonce: str
    """Of the session."""
    rank: int
    host: str
    phase: str
    """What the node is doing, or was doing last."""
    started_ns: int
    """By the node's clock, before the command was started."""
    exit_status: int | None = None
    """Of the command; None while the node has not ended."""
    ended_ns: int | None = None
    stopped: bool = False
    """Whether the node was ended from outside."""
    problem: str = ""
    """Why the command failed, if its exit status does not say."""
    tables: tuple[FoundTable, ...] = ()

    @property
    def ended(self) -> NodeStatus | None:
        """How the node ended; None if it has not."""
        if self.exit_status is None or self.ended_ns is None:
            return None
        return NodeStatus(
            rank=self.rank,
            host=self.host,
            exit_status=self.exit_status,
            ended_ns=self.ended_ns,
            phase=self.phase,
            stopped=self.stopped,
            problem=self.problem,
        )


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """What the nodes of a job reported so far."""

    statuses: dict[int, NodeStatus]
    """By rank, of the nodes that have ended."""
    candidates: tuple[Candidate, ...]
    started_ns: int
    """When the first of them began."""

    def picked(self, job: str, rank: int | None = None) -> Candidate | None:
        """The best table; with a rank, the best of that node."""
        own = [each for each in self.candidates if rank is None or each.rank == rank]
        return pick(own, job=job, started_ns=self.started_ns).chosen

    def tables(self, job: str) -> dict[int, Table]:
        """The best table of each node that has one."""
        best = {rank: self.picked(job, rank) for rank in self.statuses}
        return {rank: found.table for rank, found in best.items() if found is not None and found.table}


def read_status(folder: Path, rank: int, nonce: str) -> StatusFile | None:
    """Read the status file in the folder of `rank`; None if there is none.

    Raises `EvidenceError` for a file that is damaged, or of another rank or session.
    """
    path = folder / STATUS
    if not path.exists():
        return None
    found = read_versioned(path, StatusFile, STATUS_VERSION)
    if (found.rank, found.nonce) != (rank, nonce):
        raise EvidenceError(
            f"{path}: is of rank {found.rank} in session {found.nonce}; expected rank {rank} in session {nonce}"
        )
    return found


def read_nodes(folder: Path, size: int, nonce: str) -> Reported:
    """Read what the nodes left in the folders `<rank>` of `folder`. Raises `EvidenceError`."""
    found = {rank: read_status(folder / str(rank), rank, nonce) for rank in range(size)}
    ended = {rank: file for rank, file in found.items() if file is not None and file.ended is not None}
    return Reported(
        statuses={rank: file.ended for rank, file in ended.items() if file.ended is not None},
        candidates=tuple(_candidates(folder, ended)),
        started_ns=min((file.started_ns for file in ended.values()), default=0),
    )


def _candidates(folder: Path, files: Mapping[int, StatusFile]) -> Iterator[Candidate]:
    """All tables that nodes found. One that several nodes see in a shared folder is of the lowest rank alone."""
    seen: dict[tuple[object, ...], int] = {}
    for rank, file in sorted(files.items()):
        for found in file.tables:
            identity = (found.source, found.inode, found.modified_ns, found.sha256)
            first = seen.setdefault(identity, rank)
            shared = f"is the same file as that of rank {first}" if first != rank else ""
            yield _candidate(folder, rank, found, found.problem or shared)


def _candidate(folder: Path, rank: int, found: FoundTable, problem: str) -> Candidate:
    table: Table | None = None
    name = f"{rank}/{found.copy}" if found.copy else f"{rank}:{found.source}"
    if not problem and found.copy is not None:
        try:
            table = read_table(_read(folder / name), found.source)
        except EvidenceError as error:
            problem = str(error)
    return Candidate(
        path=name, rank=rank, job=found.job, modified_ns=found.modified_ns, table=table, problem=problem
    )


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, LARGEST_TABLE)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error
