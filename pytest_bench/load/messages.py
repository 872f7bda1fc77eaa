"""Messages between the supervisor and its load workers, and the stages into which phases are divided."""

from __future__ import annotations

import msgspec

from pytest_bench.records import WorkerReport
from pytest_bench.workload import RunSpec


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Load of one pattern. A phase has one stage, or several if its pattern is `stages`."""

    phase: int
    first_index: int
    """Index of its first request within the phase. Stages whose number of requests is known in advance come first in
    the index."""
    draws_indices: bool = False
    """Whether indices come from the phase's cursor, because several stages have an unknown number of requests."""
    concurrency: int = 0
    """Closed loop: requests in flight, summed over all load workers. 0: open loop."""
    requests: int | None = None
    duration_ns: int | None = None
    both: bool = False
    """Closed loop: stop when both limits are reached rather than when one is."""
    ramp_ns: int = 0
    at_once: bool = False
    """Burst: every request is scheduled at the start."""
    arrivals: int | None = None
    """Open loop: descriptor of a file of int64 nanoseconds after the start of the stage."""
    length_ns: int = 0
    """Open loop: duration of the stage."""
    max_concurrency: int = 0
    """Open loop: most requests in flight, summed over all load workers. 0: no limit."""
    drain: bool = False
    """Whether to wait for requests in flight before the next stage starts."""

    @property
    def closed(self) -> bool:
        return self.concurrency > 0

    def places(self, worker: int, workers: int) -> int:
        """The places in flight of a load worker: its share of all. 0: it has none, or there is no limit."""
        places = self.concurrency or self.max_concurrency
        return places // workers + (worker < places % workers)


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """First message to a load worker."""

    run: RunSpec
    stages: tuple[Stage, ...]
    worker: int
    workers: int
    cursors: tuple[int, ...]
    """One file descriptor per stage, whose shared offset is a counter of tickets."""
    indices: tuple[int, ...]
    """The same for request indices, one per phase."""
    bodies: int
    """File descriptor of the request bodies (see `bodies`)."""
    counters: int
    """File descriptor of the shared counters (see `counters`)."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """File descriptors that the load worker inherits."""
        arrivals = [stage.arrivals for stage in self.stages if stage.arrivals is not None]
        checkpoint = self.run.checkpoint
        held = () if checkpoint is None else (checkpoint.descriptor, checkpoint.keys)
        return (self.counters, self.bodies, *self.cursors, *self.indices, *arrivals, *held)


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """Message to a running load worker: start a stage at a given time, or stop."""

    stage: int | None = None
    start_ns: int | None = None
    stop: bool = False


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Message from a load worker. Exactly one field is set."""

    ready: bool = False
    """The worker is set up and connected, and waits for its first command."""
    stage_over: int | None = None
    """Number of the stage whose requests have all been issued and, if the stage drains, have all ended."""
    reports: tuple[WorkerReport, ...] | None = None
    """One report per phase. This is the last message."""
    fault: str | None = None
    """Why the worker cannot continue."""
