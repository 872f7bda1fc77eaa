"""What load workers are told: phases cut into legs, and the messages between them and their supervisor."""

from __future__ import annotations

import msgspec

from pytest_bench.records import WorkerReport
from pytest_bench.workload import RunSpec


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one pattern. A phase is one leg, or several where its pattern is `stages`."""

    phase: int
    first_index: int
    """Index, within the phase, of its first request. A leg whose number of requests is not known beforehand
    comes after all that are."""
    draws_indices: bool = False
    """Its indices are drawn from the phase's cursor: it is not the only one of unknown length."""
    concurrency: int = 0
    """Closed loop: requests in flight over all load workers. 0: open loop."""
    requests: int | None = None
    duration_ns: int | None = None
    both: bool = False
    """Closed loop: stop when both limits are reached, not when either is."""
    ramp_ns: int = 0
    at_once: bool = False
    """Burst: every request is scheduled at the start."""
    arrivals: int | None = None
    """Open loop: descriptor of a file of int64 nanoseconds after the start of the leg."""
    length_ns: int = 0
    """Open loop: when the leg is over, after its start."""
    last_arrival_ns: int = 0
    """Open loop: its last arrival, after its start."""
    drain: bool = False
    """Wait for requests in flight before the next leg."""

    @property
    def closed(self) -> bool:
        return self.concurrency > 0


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """First message to a load worker."""

    run: RunSpec
    legs: tuple[Leg, ...]
    worker: int
    workers: int
    cursors: tuple[int, ...]
    """File descriptors whose shared offsets hand out tickets, one a leg."""
    indices: tuple[int, ...]
    """The same for indices, one a phase."""
    bodies: int
    """File descriptor of the request bodies (see `bodies`)."""
    board: int
    """File descriptor of the shared counters (see `board`)."""
    import_path: tuple[str, ...]
    """`sys.path` of the supervisor, so that a third party's API is found."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the load worker inherits."""
        arrivals = [leg.arrivals for leg in self.legs if leg.arrivals is not None]
        return (self.board, self.bodies, *self.cursors, *self.indices, *arrivals)


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """Later messages to a load worker: begin a leg at an instant, or stop."""

    leg: int | None = None
    start_ns: int | None = None
    stop: bool = False


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Messages from a load worker. Exactly one field is set."""

    ready: bool = False
    """Set up and connected; waits for its first order."""
    leg_over: int | None = None
    """This leg has issued, and where it drains also completed, all that it had to."""
    reports: tuple[WorkerReport, ...] | None = None
    """All over: one report a phase. The last message."""
    fault: str | None = None
    """Gives up, and why."""
