"""What a phase is asked to do: its load, its order of samples, its limits.

Plain structs, so that a load worker can import them and nothing else. The suite's
schema produces them; the engine carries them out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Pattern = Literal["burst", "concurrency", "constant", "poisson", "gamma", "trace", "stages"]
Order = Literal["without_replacement", "with_replacement", "single", "sequential"]
TextPolicy = Literal["keep", "hash", "drop"]

OPEN_LOOP: frozenset[str] = frozenset({"constant", "poisson", "gamma", "trace"})
"""Patterns whose arrivals are fixed before the phase: the server's speed does not slow them down."""


MAX_RESPONSE_BYTES = 256 << 20
"""Default limit on one response: more than any stream of tokens, less than what a load worker can hold of a few."""


class Load(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How requests are issued. Fields that a pattern does not use are None."""

    pattern: Pattern
    requests: int | None = None
    """Stop after this many."""
    duration_s: float | None = None
    """Stop issuing after this long; with `stop: and` a minimum that is enforced (open loop: from the first arrival
    to the last)."""
    stop: Literal["and", "or"] = "or"
    """With both limits: stop when both are reached, or when either is."""
    concurrency: int | None = None
    """`concurrency`: requests in flight, exactly. `burst`: the cap on connections."""
    rate: float | None = None
    """Open loop: mean arrivals per second."""
    burstiness: float = 1.0
    """`gamma`: the shape of the gaps; 1 is Poisson, below 1 is burstier."""
    ramp_s: float = 0.0
    """Closed loop: seconds over which concurrency grows to its full value. Open loop: the rate grows."""
    trace_ns: tuple[int, ...] = ()
    """`trace`: arrival times after the start of the phase, ascending."""
    stages: tuple[Load, ...] = ()
    """`stages`: loads run one after the other."""
    handover: Literal["drain", "overlap"] = "drain"
    """`stages`: wait for requests in flight between stages, or let them overlap."""


class SampleOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Which sample the i-th request of a phase takes, out of the samples `first … first + count - 1`."""

    order: Order = "without_replacement"
    count: int
    first: int = 0
    index: int | None = None
    """`single`: the one sample."""
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
    """The endpoint's URL in its one spelling, prefix included: what evidence shows."""
    address: str
    port: int
    tls: bool = False
    host: str = ""
    """The Host header: with the port, unless it is the scheme's own."""
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
    """How large the client's own part in a phase's numbers may be before the phase is `client-bound`.

    Times are judged on their p99. Shares are judged over the whole phase, and on the p99 (the last on the p1) of its
    windows of a second, so that a minute of saturation is not lost in an hour of calm; a phase that does not make two
    windows is judged as a whole. Never a single worst moment, which any shared machine has.
    """

    vacancy: float = 0.02
    """Closed loop: most of the concurrency that may be missing while the client has not sent the next request."""
    vacancy_p99: float = 0.05
    """The same at p99 of windows of a second; never less than `vacancy`."""
    schedule_lateness_ms: float = 20.0
    """Open loop: how late requests may leave."""
    cpu_share: float = 0.95
    """Most CPU time, of one core, of any load worker."""
    achieved_share: float = 0.95
    """Open loop: least of the schedule's own pace (`records.ClientHealth.achieved_share_p1`)."""

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
    """One uninterrupted stretch of load, and where its logs land."""

    label: str
    load: Load
    samples: SampleOrder
    folder: str
    """Must exist and hold no logs yet."""
    arrival_seed: int = 0
    handover: Literal["drain", "overlap"] = "drain"
    """What happens before the next phase of the run: wait for requests in flight, or let them overlap."""


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Phases driven one after the other by the same load workers.

    Travels to the load workers through a pipe, never through a file: `headers` may hold a key.
    """

    point: str
    nonce: str
    api: str
    """Import reference `module:attribute` of the API that decodes responses."""
    streaming: bool
    """Whether the requests ask for a stream, so that an answer without one is a failure."""
    targets: tuple[Target, ...]
    bodies: str
    """Path of the encoded request bodies (see `load.bodies`), which the engine opens."""
    phases: tuple[PhaseSpec, ...]
    headers: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    """Values that no log may hold, though a server repeats them."""
    timeouts: Timeouts = Timeouts()
    budget: HealthBudget = HealthBudget()
    max_response_bytes: int = MAX_RESPONSE_BYTES
    """The longest response, headers included; a longer one is a failed request."""
    workers: int | None = None
    """Number of load workers; None lets the engine choose."""
    left_cpus: tuple[int, ...] = ()
    """CPUs that load workers leave to others."""
    texts: TextPolicy = "keep"
    poll_interval_s: float = 1.0
    """How long to wait before asking again for a job that an API answers with."""

    def __repr__(self) -> str:
        """Names of the headers, never their values: one of them may be a key."""
        names = ", ".join(name for name, _ in self.headers)
        return f"RunSpec(point={self.point!r}, nonce={self.nonce!r}, headers=<{names}>)"
