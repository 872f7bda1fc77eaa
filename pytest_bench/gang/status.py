"""`status.json`, which each agent of a gang writes into its own folder, and which failure of several came first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import write_json
from pytest_bench.results.reading import read_versioned

VERSION = 1
NAME = "status.json"


State = Literal["running", "ended", "failed", "stopped"]


class RankStatus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the file. Written when the agent starts and when it ends."""

    version: int = VERSION
    nonce: str
    """Of the session."""
    rank: int
    host: str
    """The node's own name for itself."""
    address: str = ""
    """At which the other nodes reach it."""
    state: State
    """`ended`: the session asked it to. `failed`: by itself. `stopped`: by something else. In each of these, its
    containers are removed."""
    phase: str
    """What it was doing, or did when it failed or was stopped."""
    reason: str = ""
    """Of a failure or a stop."""
    because_of: int | None = None
    """The rank whose failure stopped it."""
    at_ns: int
    """Clock of its node when it failed or was stopped."""


def folder_of(folder: Path, rank: int) -> Path:
    """The folder of a rank in that of the deployment."""
    return folder / f"rank-{rank}"


def write_status(folder: Path, status: RankStatus) -> None:
    write_json(folder_of(folder, status.rank) / NAME, status)


def read_statuses(folder: Path, size: int, nonce: str) -> dict[int, RankStatus]:
    """The status of each rank that has written one in this session."""
    found = {}
    for rank in range(size):
        try:
            status = read_versioned(folder_of(folder, rank) / NAME, RankStatus, VERSION)
        except EvidenceError:
            continue  # the caller reports the rank as one that never reported
        if (status.nonce, status.rank) == (nonce, rank):
            found[rank] = status
    return found


def failures(size: int, statuses: Mapping[int, RankStatus]) -> list[str]:
    """A sentence for each rank that did not end as asked, the root cause first; empty if all did.

    The root cause is the earliest failure by time. A rank that was killed has reported none: it failed when the first
    of those was stopped that name it. If the ranks name each other, as after the network between them has failed, it is
    what the first of them saw.
    """
    causes = sorted(_causes(statuses)) or sorted(_seen_of_others(statuses))
    first = causes[0][1] if causes else None
    lines = [causes[0][2]] if causes else []
    for rank in range(size):
        if rank == first:
            continue
        status = statuses.get(rank)
        if status is None:
            lines.append(f"rank {rank} never reported")
        elif status.state == "running":
            lines.append(f"{_name(status)} did not report its end; it was last {status.phase}")
        elif status.state == "stopped" and status.because_of is not None:
            lines.append(f"{_name(status)}: stopped because of rank {status.because_of}")
        elif status.state != "ended":
            what = "failed" if status.state == "failed" else "was stopped"
            reason = "for the same reason" if status.reason in lines[0] else status.reason
            lines.append(f"{_name(status)} {what} later, while {status.phase}: {reason}")
    return lines


def _causes(statuses: Mapping[int, RankStatus]) -> Iterator[tuple[int, int, str]]:
    """Time, rank and sentence of each failure that is not the consequence of another."""
    for status in statuses.values():
        if status.state == "failed":
            yield status.at_ns, status.rank, f"{_name(status)} failed while {status.phase}: {status.reason}"
        elif status.state == "stopped" and status.because_of is None:
            yield (
                status.at_ns,
                status.rank,
                f"{_name(status)} was stopped while {status.phase}: {status.reason}",
            )
        elif status.state == "stopped" and status.because_of is not None:
            other = statuses.get(status.because_of)
            if other is None or other.state == "running":
                yield status.at_ns, status.because_of, status.reason


def _seen_of_others(statuses: Mapping[int, RankStatus]) -> Iterator[tuple[int, int, str]]:
    """Time, rank and sentence of each failure of a rank that another rank has seen."""
    for status in statuses.values():
        if status.state == "stopped" and status.because_of is not None:
            yield status.at_ns, status.because_of, status.reason


def _name(status: RankStatus) -> str:
    return f"rank {status.rank} ({status.host})"
