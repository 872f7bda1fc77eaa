"""What rank 0 decides for all ranks: when a barrier opens, and when the rendezvous has failed. Pure.

Every method returns the frames to send to all ranks, rank 0 itself included. The first failure is the only one: what
fails afterwards fails because of it. Times are monotonic, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytest_bench.cluster.frames import Abort, Frame, Go, Leave, Phase, Ready

MISSES = 3
"""Heartbeats that may be missing in a row."""
JOINING = "joining"


@dataclass
class _Member:
    host: str
    phase: str
    since_s: float
    heard_s: float
    has_left: bool = False


@dataclass
class _Barrier:
    deadline_s: float
    payloads: dict[int, str | None] = field(default_factory=dict)
    """Of the ranks that wait, by rank."""


class Coordinator:
    """The state of all ranks. `size` includes rank 0, which has joined."""

    def __init__(self, size: int, host: str, now_s: float, *, join_s: float, heartbeat_s: float) -> None:
        self.size = size
        self.failure: Abort | None = None
        self.refused_peers = 0
        """Connections dropped because they did not prove that they belong to this job."""
        self._heartbeat_s = heartbeat_s
        self._join_deadline_s = now_s + join_s
        self._members = {0: _Member(host, JOINING, now_s, now_s)}
        self._waiting: dict[str, _Barrier] = {}
        self._opened: set[str] = set()

    def join(self, rank: int, size: int, host: str, now_s: float) -> Sequence[Frame]:
        """A rank has proven that it belongs to the job."""
        if size != self.size or rank >= self.size:
            return self._fail(
                rank,
                host,
                JOINING,
                f"is rank {rank} of {size}, but rank 0 ({self._members[0].host}) expects "
                f"{self.size} ranks: give every node the same NNODES",
            )
        if rank in self._members:
            return self._fail(
                rank,
                host,
                JOINING,
                f"rank {rank} joined twice, from {self._members[rank].host} and from {host}: give "
                "every node its own NODE_RANK, and run one process a node",
            )
        self._members[rank] = _Member(host, JOINING, now_s, now_s)
        return ()

    def receive(self, rank: int, frame: Frame, now_s: float) -> Sequence[Frame]:
        """A rank that has joined sent a frame; rank 0 its own."""
        member = self._members[rank]
        member.heard_s = now_s
        if self.failure is not None:
            return ()
        match frame:
            case Phase(text=text):
                member.phase, member.since_s = text, now_s
                return (Phase(rank=rank, text=text),) if rank == 0 else ()
            case Ready():
                return self._ready(rank, frame, now_s)
            case Abort(reason=reason):
                return self._fail(rank, member.host, member.phase, reason)
            case Leave():
                member.has_left = True
                return self._departed(rank) or ((frame,) if rank == 0 else ())
        return ()

    def lost(self, rank: int, why: str) -> Sequence[Frame]:
        """The connection to a rank has ended."""
        member = self._members[rank]
        return () if member.has_left else self._fail(rank, member.host, member.phase, why)

    def tick(self, now_s: float) -> Sequence[Frame]:
        """Time has passed: check deadlines and heartbeats."""
        if now_s >= self._join_deadline_s and len(self._members) < self.size:
            return self._time_out("join", set(self._members), now_s)
        for name, barrier in self._waiting.items():
            if now_s >= barrier.deadline_s:
                return self._time_out(name, set(barrier.payloads), now_s)
        for rank, member in self._members.items():
            silent_s = now_s - member.heard_s
            if rank != 0 and not member.has_left and silent_s > MISSES * self._heartbeat_s:
                return self._fail(rank, member.host, member.phase, f"no heartbeat for {silent_s:.0f} s")
        return ()

    def status(self, name: str, ready: set[int], now_s: float) -> str:
        """Say how many ranks are ready, and what the others are doing."""
        words = [f"{name} {len(ready)}/{self.size}"]
        for rank in sorted(set(range(self.size)) - ready):
            member = self._members.get(rank)
            words.append(
                f"rank {rank} never connected"
                if member is None
                else f"rank {rank} ({member.host}) {member.phase} for {now_s - member.since_s:.0f} s"
            )
        if self.refused_peers:
            words.append(
                f"{self.refused_peers} connections were refused: their peers did not prove that they know the secret"
            )
        return "; ".join(words)

    def _ready(self, rank: int, frame: Ready, now_s: float) -> Sequence[Frame]:
        member = self._members[rank]
        barrier = self._waiting.setdefault(frame.name, _Barrier(now_s + frame.timeout_s))
        if frame.name in self._opened or rank in barrier.payloads:
            return self._fail(
                rank,
                member.host,
                member.phase,
                f"waits at the barrier {frame.name!r} again: a barrier is used once",
            )
        barrier.deadline_s = min(barrier.deadline_s, now_s + frame.timeout_s)
        barrier.payloads[rank] = frame.payload
        for other, gone in self._members.items():
            if gone.has_left and other not in barrier.payloads:
                return self._departed(other)
        if len(barrier.payloads) < self.size:
            return ()
        self._opened.add(frame.name)
        del self._waiting[frame.name]
        given = [barrier.payloads[rank] for rank in sorted(barrier.payloads)]
        return (
            Go(name=frame.name, payload=next((payload for payload in given if payload is not None), None)),
        )

    def _departed(self, rank: int) -> Sequence[Frame]:
        """A rank that has left can no longer come to a barrier at which others wait."""
        member = self._members[rank]
        names = [name for name, barrier in self._waiting.items() if rank not in barrier.payloads]
        if not member.has_left or not names:
            return ()
        return self._fail(
            rank, member.host, member.phase, f"ended without coming to the barrier {names[0]!r}"
        )

    def _time_out(self, name: str, ready: set[int], now_s: float) -> Sequence[Frame]:
        return self._fail(None, "", "", self.status(name, ready, now_s))

    def _fail(self, rank: int | None, host: str, phase: str, reason: str) -> Sequence[Frame]:
        if self.failure is not None:
            return ()
        self.failure = Abort(rank=rank, host=host, phase=phase, reason=reason)
        return (self.failure,)
