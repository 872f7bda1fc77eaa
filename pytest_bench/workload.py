"""The specification of a phase: its load, its order of samples, its limits.

Plain structs, so that a load worker need not import anything else. The suite's schema produces them and the engine runs
them. Values derived from a load's fields (number of requests, number in flight) are computed only here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal

import msgspec

Pattern = Literal["burst", "concurrency", "constant", "poisson", "gamma", "trace", "stages"]
Order = Literal["without_replacement", "with_replacement", "single", "sequential"]
TextPolicy = Literal["keep", "hash", "drop"]

OPEN_LOOP: frozenset[str] = frozenset({"constant", "poisson", "gamma", "trace"})
"""Patterns whose arrival times are fixed before the phase: a slow server does not delay them."""


MAX_RESPONSE_BYTES = 256 << 20
"""Default limit on one response: more than any stream of tokens needs, and small enough to hold several in memory."""


class Load(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How requests are issued. A field that the pattern does not use is None."""

    pattern: Pattern
    requests: int | None = None
    """Stop after this many."""
    duration_s: float | None = None
    """Stop issuing after this long. With `stop: and` it is an enforced minimum (in open loop, from the first arrival to
    the last)."""
    stop: Literal["and", "or"] = "or"
    """With both limits: stop when both are reached (`and`), or when one is (`or`)."""
    concurrency: int | None = None
    """`concurrency`: requests in flight, exactly. `burst`: the cap on connections."""
    rate: float | None = None
    """Open loop: mean arrivals per second."""
    burstiness: float = 1.0
    """`gamma`: the shape of the gaps; 1 is Poisson, below 1 is burstier."""
    max_concurrency: int | None = None
    """Open loop: most requests in flight. A request whose time has come waits until one of them ends. None: no
    limit."""
    ramp_s: float = 0.0
    """Closed loop: seconds over which concurrency grows to its full value. Open loop: the rate grows."""
    trace_ns: tuple[int, ...] = ()
    """`trace`: arrival times after the start of the phase, ascending."""
    stages: tuple[Load, ...] = ()
    """`stages`: loads run one after the other."""
    handover: Literal["drain", "overlap"] = "drain"
    """`stages`: wait for requests in flight between stages, or let them overlap."""

    @property
    def parts(self) -> tuple[Load, ...]:
        """The stages, or the load itself if it has none."""
        return self.stages or (self,)

    @property
    def open_loop(self) -> bool:
        """Whether every part is open loop."""
        return all(part.pattern in OPEN_LOOP for part in self.parts)

    @property
    def exact_requests(self) -> int | None:
        """Number of requests that the load issues; None if time may decide it."""
        if self.stages:
            return _sum(stage.exact_requests for stage in self.stages)
        if self.pattern == "trace":
            return self._arrivals_issued
        return self.requests if self.duration_s is None else None

    @property
    def most_requests(self) -> int | None:
        """Upper bound on the number of requests; None if only time ends the load."""
        if self.stages:
            return _sum(stage.most_requests for stage in self.stages)
        if self.pattern == "trace":
            return self._arrivals_issued
        return self.requests if self.duration_s is None or self.stop == "or" else None

    @property
    def peak_in_flight(self) -> int | None:
        """Upper bound on the requests in flight, which a closed loop without a ramp reaches; None if some part is
        open loop without `max_concurrency`."""
        if self.stages:
            peaks = [stage.peak_in_flight for stage in self.stages]
            return _sum(peaks) if self.handover == "overlap" else _max(peaks)
        places = self.max_concurrency if self.pattern in OPEN_LOOP else self.concurrency
        if places is None or self.most_requests is None:
            return places
        return min(places, self.most_requests)

    @property
    def least_duration_s(self) -> float | None:
        """Lower bound on the seconds for which the load issues requests; None if a count may end it earlier."""
        if self.stages:
            return None
        return self.duration_s if self.requests is None or self.stop == "and" else None

    @property
    def _arrivals_issued(self) -> int:
        """Arrivals of the trace that neither limit cuts off."""
        count = len(self.trace_ns) if self.requests is None else min(self.requests, len(self.trace_ns))
        if self.duration_s is None:
            return count
        return min(count, bisect_left(self.trace_ns, round(self.duration_s * 1e9)))


def _sum(values: Iterable[int | None]) -> int | None:
    total = 0
    for value in values:
        if value is None:
            return None
        total += value
    return total


def _max(values: Iterable[int | None]) -> int | None:
    known = list(values)
    return None if None in known else max(value for value in known if value is not None)


class SampleOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the samples `first … first + count - 1` the i-th request of a phase uses."""

    order: Order = "without_replacement"
    count: int
    first: int = 0
    index: int | None = None
    """`single`: the index of the sample."""
    seed: int = 0


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one request, in seconds. A request that exceeds one is a typed failure."""

    connect_s: float = 10.0
    request_s: float = 600.0
    no_progress_s: float | None = None
    """Streams: the longest silence, from the sent request to its first byte or from one read to the next."""
    drain_s: float | None = None
    """How long requests in flight may take after the last issue; None means `request_s`."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, resolved: names are looked up once, before the phase."""

    url: str
    """The endpoint's normalised URL with its prefix, as evidence shows it."""
    address: str
    port: int
    tls: bool = False
    host: str = ""
    """The Host header: with the port, unless it is the scheme's default."""
    server_name: str = ""
    """TLS: the name that the certificate must be for."""
    path: str = "/"
    """Path of the API's request, with the endpoint's prefix and query."""
    prefix: str = ""
    """The endpoint's prefix, below which the paths of other requests lie."""
    query: str = ""
    """Query of every request, encoded, without `?`; may hold a key."""


def with_query(path: str, query: str) -> str:
    """`path`, which may have a query of its own, with the parameters of `query` (encoded, without `?`)."""
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{query}"


class HealthBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Limits on the client's own part in a phase's numbers. A phase that exceeds one is `client-bound`.

    Times are judged at p99. Shares are judged over the whole phase and at p99 (the last one at p1) of its windows of
    one second, so that a minute of saturation is noticed in an hour; a phase shorter than two windows is judged as a
    whole. The single worst moment never decides, because every shared machine has one.
    """

    vacancy: float = 0.02
    """Closed loop, and open loop with `max_concurrency`: largest share of the concurrency that may be missing because
    the next request is not sent yet."""
    vacancy_p99: float = 0.05
    """The same at p99 of windows of a second. Values below `vacancy` count as `vacancy`."""
    schedule_lateness_ms: float = 20.0
    """Open loop: how late requests may be sent."""
    cpu_share: float = 0.95
    """Largest share of one core of any load worker."""
    achieved_share: float = 0.95
    """Open loop: smallest share of the schedule's own pace (`records.ClientHealth.achieved_share_p1`)."""

    @property
    def relaxed(self) -> bool:
        """Whether any limit is wider than the default."""
        default = HealthBudget()
        return (
            any(
                getattr(self, name) > getattr(default, name)
                for name in ("vacancy", "vacancy_p99", "schedule_lateness_ms", "cpu_share")
            )
            or self.achieved_share < default.achieved_share
        )


class PhaseSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One uninterrupted stretch of load, and the folder of its logs."""

    label: str
    load: Load
    samples: SampleOrder
    folder: str
    """Must exist and must not contain logs."""
    arrival_seed: int = 0
    handover: Literal["drain", "overlap"] = "drain"
    """Before the next phase of the run: wait for requests in flight, or let them overlap."""


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Which failed requests are sent again. By default none is."""

    attempts: int = 1
    """Most attempts of one request, the first one included."""
    on: tuple[str, ...] = ()
    """Types of failures (`records.ERROR_TYPES`) after which a request is sent again."""
    backoff_s: float = 1.0
    """Wait before the second attempt; it doubles with each further one. A server may ask for a longer one."""
    max_wait_s: float = 60.0
    """The longest wait before an attempt, whatever the server asks."""


class Checkpointing(msgspec.Struct, frozen=True, kw_only=True):
    """The checkpoint that takes the place of the logs of a run's only phase, which has one load worker."""

    path: str
    """For messages."""
    descriptor: int
    """The open, locked and repaired checkpoint."""
    keys: int
    """Descriptor of a file with a JSON array: the key of each sample (`checkpoints.Key`)."""
    lines: int
    """Lines that it holds."""
    good_bytes: int
    """Its length."""
    sync: Literal["group", "each"] = "group"
    retry: Retry = Retry()
    most_failures: int | None = None
    """Stop issuing once more requests than this have failed, retries included; None: issue all."""
    item_time_limit_s: float | None = None
    """An answer that is not complete this long after its request was sent is cut off; None: no limit."""


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Phases that the same load workers run one after the other.

    It is sent to the load workers through a pipe, never through a file, because `headers` may hold a key.
    """

    point: str
    nonce: str
    api: str
    """Import reference `module:attribute` of the API that decodes responses."""
    streaming: bool
    """Whether the requests ask for a stream, so that an answer that is not a stream is a failure."""
    targets: tuple[Target, ...]
    bodies: str
    """Path of the encoded request bodies (see `load.bodies`), which the engine opens."""
    phases: tuple[PhaseSpec, ...]
    headers: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Values that no log may contain, even if a server repeats them."""
    timeouts: Timeouts = Timeouts()
    budget: HealthBudget = HealthBudget()
    max_response_bytes: int = MAX_RESPONSE_BYTES
    """The longest response, headers included; a longer one is a failed request."""
    workers: int | None = None
    """Number of load workers; None lets the engine choose."""
    cpus: tuple[int, ...] = ()
    """CPUs that load workers run on; empty: all that this process may run on."""
    texts: TextPolicy = "keep"
    poll_interval_s: float = 1.0
    """Interval between polls, for an API that answers with a job."""
    checkpoint: Checkpointing | None = None
    """Of an eval; None: each phase has logs of its own."""

    def __repr__(self) -> str:
        """Shows the names of headers without their values, one of which may be a key."""
        names = ", ".join(name for name, _ in self.headers)
        return f"RunSpec(point={self.point!r}, nonce={self.nonce!r}, headers=<{names}>)"
