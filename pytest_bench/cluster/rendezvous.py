"""Barriers between the ranks of a job: one authenticated TCP connection from each rank to rank 0.

    with meet(read_place(os.environ), read_secret(os.environ)) as rendezvous:
        rendezvous.phase("loading the image")
        rendezvous.barrier("loaded", timeout_s=1800)

A failure of any rank ends the block on every rank within seconds: an exception in the block, a process that dies, a
connection that is cut, a deadline. The exception on the other ranks names the rank that failed first.

This module holds the interface; `coordinator.py` decides, and `endpoint.py` has the sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

from pytest_bench.cluster.coordinator import JOINING
from pytest_bench.cluster.frames import Abort, Frame, Go, Leave, Phase, Ready
from pytest_bench.errors import BenchError

JOIN_S = 300.0
HEARTBEAT_S = 3.0

_LONGEST_REASON = 2000
_ANSWER_S = 30.0
"""How much longer than its own deadline a rank waits for rank 0, which enforces it."""


class RendezvousError(BenchError):
    """The ranks of a job cannot meet."""

    code = "rendezvous"


class BarrierTimeout(RendezvousError):
    """Not every rank came in time. The message says which are missing, and what they are doing."""

    code = "barrier-timeout"


class BarrierAborted(RendezvousError):
    """Another rank failed. `failure` says which, where, in which phase, and why."""

    code = "barrier-aborted"

    def __init__(self, failure: Abort) -> None:
        self.failure = failure
        super().__init__(
            f"stopped because of rank {failure.rank} ({failure.host}), which failed while {failure.phase}: "
            f"{failure.reason}"
        )


class Rendezvous:
    """This rank's side. Thread-safe."""

    def __init__(self, rank: int, size: int, host: str) -> None:
        self.rank, self.size, self.host = rank, size, host
        self._phase = JOINING
        self.changed = Condition()
        """Guards all state of this rank; notified when a barrier opens and when the rendezvous fails."""
        self._opened: dict[str, str | None] = {}
        self._used: set[str] = set()
        self._failure: Abort | None = None
        self._emit: Callable[[Frame], None] = self._alone

    def connect(self, emit: Callable[[Frame], None]) -> None:
        """Set how frames of this rank are sent; called with `changed` held."""
        self._emit = emit

    def barrier(
        self, name: str, *, timeout_s: float, payload: str | None = None, identity: str | None = None
    ) -> str | None:
        """Wait until every rank waits at `name`, and return the payload of the lowest rank that gave one.

        `identity` is a payload that must be the same on all ranks. A barrier is used once. Raises `BarrierTimeout` if
        not every rank comes within `timeout_s`, and `BarrierAborted` if another rank fails.
        """
        with self.changed:
            if name in self._used:
                raise RendezvousError(f"the barrier {name!r} was used before: give each barrier its own name")
            self._used.add(name)
            self.check()
            self._emit(
                Ready(name=name, timeout_s=timeout_s, payload=payload if identity is None else identity)
            )
            done = self.changed.wait_for(
                lambda: name in self._opened or self._failure is not None, timeout_s + _ANSWER_S
            )
            if name not in self._opened:
                self.check()
            if not done:
                raise BarrierTimeout(f"{name}: rank 0 did not answer within {timeout_s + _ANSWER_S:g} s")
            found = self._opened[name]
        if identity is not None and found != identity:
            self.abort(f"at the barrier {name!r} this rank has {identity}, but {found} was agreed on")
            raise RendezvousError(f"{name}: this rank has {identity}, but {found} was agreed on")
        return found

    def phase(self, text: str) -> None:
        """Say what this rank is doing from now on; used in messages, as in "rank 3 (n3) loading for 412 s"."""
        with self.changed:
            self._phase = text[:_LONGEST_REASON]
            self._emit(Phase(rank=self.rank, text=self._phase))

    def abort(self, reason: str) -> None:
        """End the rendezvous on all ranks: this rank has failed."""
        with self.changed:
            if self._failure is None:
                self._emit(
                    Abort(rank=self.rank, host=self.host, phase=self._phase, reason=reason[:_LONGEST_REASON])
                )

    def leave(self) -> None:
        """Say that this rank is done."""
        with self.changed:
            if self._failure is None:
                self._emit(Leave())

    def check(self) -> None:
        """Raise `BarrierTimeout` or `BarrierAborted` if the rendezvous has failed."""
        failure = self._failure
        if failure is None:
            return
        if failure.rank is None:
            raise BarrierTimeout(failure.reason)
        raise BarrierAborted(failure)

    def wait_for_failure(self, timeout_s: float) -> bool:
        """Wait until the rendezvous fails, and return whether it has."""
        with self.changed:
            return self.changed.wait_for(lambda: self._failure is not None, timeout_s)

    def waiting(self) -> set[str]:
        """The barriers at which this rank waits; called with `changed` held."""
        return self._used - self._opened.keys()

    def take(self, frame: Frame) -> None:
        """Note what rank 0 decided; called with `changed` held."""
        match frame:
            case Go(name=name, payload=payload):
                self._opened[name] = payload
            case Abort() if self._failure is None:
                self._failure = frame
        self.changed.notify_all()

    def _alone(self, frame: Frame) -> None:
        """The only rank of a job decides by itself."""
        if isinstance(frame, Ready):
            self.take(Go(name=frame.name, payload=frame.payload))


@contextmanager
def closing(rendezvous: Rendezvous, close: Callable[[], None]) -> Iterator[Rendezvous]:
    """Leave at the end of the block; abort if it raises, unless another rank's failure was raised."""
    try:
        try:
            yield rendezvous
        except (BarrierAborted, BarrierTimeout):
            raise
        except BaseException as error:
            rendezvous.abort(f"{type(error).__name__}: {error}")
            raise
        rendezvous.leave()
    finally:
        close()
