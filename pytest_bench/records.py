"""Results of a phase: one record per request, and reports about the client.

Times ending in `_ns` are CLOCK_MONOTONIC nanoseconds. Times of received bytes are kernel stamps; the others are taken
in the load worker. None means that the event did not happen. Field names are the wire format of
`requests.<w>.jsonl`, version `REQUESTS_VERSION`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

REQUESTS_VERSION = 2
PHASE_VERSION = 2

WARMUP = "warmup"
"""Label of the phase before a measurement. Its requests are in no metric."""

RequestOutcome = Literal["succeeded", "failed", "interrupted"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Token counts that the server reported; None if it did not."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Moments(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One number of nanoseconds for each moment of a response."""

    first_byte: int = 0
    first_content: int = 0
    first_output: int = 0
    last_content: int = 0
    end: int = 0


class RequestRecord(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """All facts about one request."""

    seq: int
    """Position in its file, from 0 without a gap."""
    request_id: str
    index: int
    """Position in the phase's order of issue; fixes the sample."""
    sample_index: int
    endpoint: int = 0
    scheduled_ns: int | None = None
    """Open loop and burst: the scheduled time of issue."""
    place_free_ns: int | None = None
    """Open loop with `max_concurrency`, if the request waited for a place: when the request that held it ended, from
    which the client's lateness counts. None: it did not wait."""
    send_start_ns: int
    turnaround_ns: int | None = None
    """Closed loop: for how long the client had left the slot empty before `send_start_ns`. None: the slot is new, or
    its last request failed. Open loop: the same of the place that the request waited for."""
    connect_ns: int | None = None
    """Duration of the connection set-up, on the first request of a connection only."""
    request_sent_ns: int | None = None
    first_byte_ns: int | None = None
    first_content_ns: int | None = None
    """First non-empty content, reasoning or tool delta of a stream."""
    first_output_ns: int | None = None
    """The same, reasoning left out."""
    last_content_ns: int | None = None
    """Last such delta of a stream; the end of the body of a response that is not streamed."""
    end_ns: int
    seen_after_ns: Moments | None = None
    """How much later than its stamp the load worker read each known moment. 0: the stamp is the load worker's own.
    None: nothing was read."""
    uncertainty_ns: Moments | None = None
    """How much earlier than its stamp each moment may have been, because it was read together with later data, the
    stamp is the load worker's own, or earlier data was read late. 0 or None: exact."""
    event_count: int = 0
    content_event_count: int = 0
    content_gaps_ns: tuple[int, ...] = ()
    """Gaps between successive content events: `content_event_count - 1` of them."""
    inner_uncertainty_ns: tuple[int, ...] = ()
    """As `uncertainty_ns`, of each content event between the first and the last. Empty: all are exact, or all content
    has one stamp."""
    content_event_tokens: tuple[int, ...] = ()
    """Tokens of each content event, where the server reports usage with every chunk."""
    status: int | None = None
    outcome: RequestOutcome
    error: str | None = None
    """Type of the failure, one of `ERROR_TYPES`."""
    error_detail: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    server_time_s: float | None = None
    """Inference time that the server reports (video APIs)."""
    text_sha256: str | None = None
    """Digest of the delivered text, where texts are hashed rather than kept."""
    output_empty: bool = False
    request_bytes: int = 0
    response_bytes: int = 0
    resent: bool = False
    """Re-sent once because a connection that had been idle ended before any response byte."""
    polls: int = 0
    """Number of polls of an accepted job. Latencies may be too high by up to one poll interval."""
    retry_after_s: float | None = None
    """How long the server asked to wait before the request is sent again (Retry-After), from the end of its answer."""
    limit: Literal["time"] | None = None
    """The limit of an eval's item at which the client cut the answer off. What had arrived by then is its text."""


class TextRecord(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One line of `texts.<w>.jsonl`: the delivered text of a request, by kind."""

    request_id: str
    sample_index: int
    content: str = ""
    reasoning: str = ""
    tool_calls: str = ""
    first_event_text: str = ""
    """Text of the first content event, also part of the other fields. Time per output token excludes its tokens."""
    token_ids: list[int] = []
    """Ids of the output tokens, if the endpoint returns them."""


class Places(msgspec.Struct, frozen=True, gc=False):
    """The concurrency that an eval's session had reached when a line of its checkpoint was written.

    A place is taken while its request is in flight, from `send_start_ns` to the kernel's stamp of the response's end,
    and while it waits to be sent again. The time until the next request of the place is sent is not part of it.
    """

    peak: int
    """Most places taken at one time."""
    full_load_ns: int | None = None
    """First instant with all places taken."""
    last_issue_ns: int | None = None
    place_ns: int = 0
    """Integral of the places taken, from full load to the last issue."""

    @property
    def achieved(self) -> float | None:
        """Mean number of places taken from full load to the last issue; None if there is no time between."""
        if self.full_load_ns is None or self.last_issue_ns is None or self.last_issue_ns <= self.full_load_ns:
            return None
        return self.place_ns / (self.last_issue_ns - self.full_load_ns)


ERROR_TYPES: dict[str, str] = {
    "connect": "no connection could be made",
    "connect_timeout": "no connection within the connect timeout",
    "reset": "the connection was reset or closed before the response was complete",
    "timeout": "not complete within the request timeout",
    "no_progress": "silent for longer than the no-progress timeout",
    "http_status": "answered with a status other than 200",
    "redirect": "answered with a redirect, which load never follows",
    "rate_limited": "answered 429",
    "server_error": "answered 5xx",
    "protocol": "not valid HTTP/1.1",
    "too_long": "response longer than the declared limit",
    "short_body": "body shorter than announced",
    "truncated_stream": "stream ended with neither [DONE] nor a finish reason",
    "malformed": "an event or body that is not what the API promises",
    "stream_error": "an answer of status 200 reports an error: an error object, an event of type `error`, a field "
    "`error`, or a finish reason such as `abort`, `cancelled`, `error` or `timeout`",
}
"""Types a failed request may have, and what each means."""


class Quantiles(msgspec.Struct, frozen=True):
    """Client-side distribution, in milliseconds."""

    p50: float
    p99: float
    max: float


class WorkerReport(msgspec.Struct, kw_only=True):
    """One load worker's report on one phase, sent to the parent process at the end."""

    worker: int
    issued: int = 0
    succeeded: int = 0
    failed: int = 0
    interrupted: int = 0
    resent: int = 0
    failures: dict[str, int] = {}
    """Failed requests by type."""
    peak_in_flight: int = 0
    """Maximum in flight when a request of this phase was issued, including requests of an earlier phase."""
    in_flight_ns: int = 0
    """Integral of requests in flight over the full-load window, in request-nanoseconds."""
    first_issue_ns: int | None = None
    last_issue_ns: int | None = None
    last_completion_ns: int | None = None
    full_load_ns: int | None = None
    """Closed loop: first instant with this worker's whole share in flight, all of it the phase's own requests."""
    reads: int = 0
    """Reads of complete responses."""
    user_stamped_reads: int = 0
    """Number of these without a usable kernel stamp."""
    clock_steps: int = 0
    """Number of times CLOCK_REALTIME was set during the phase."""
    clock_error_ns: int = 0
    """Upper bound on the error of turning the kernel's stamps into CLOCK_MONOTONIC."""
    client_lag_ms: Quantiles | None = None
    turnaround_ms: Quantiles | None = None
    schedule_lateness_ms: Quantiles | None = None
    issue_lateness_ms: Quantiles | None = None
    """Open loop: the same until the request was issued, before it waited for a connection."""
    vacant_ns: int = 0
    """The sum of all turnarounds. This and the next ones: closed loop, and open loop with `max_concurrency`."""
    busy_ns: int = 0
    """The sum of the latencies of all succeeded requests, from `send_start_ns` to `end_ns`."""
    vacant_from_ns: int = 0
    """From the first turnaround to the last."""
    vacant_until_ns: int = 0
    seconds: tuple[tuple[int, int, int], ...] = ()
    """`vacant_ns` and `busy_ns` by second of CLOCK_MONOTONIC."""
    first_scheduled_ns: int | None = None
    """Open loop: the first and the last scheduled time of a request that was sent."""
    last_scheduled_ns: int | None = None
    held: int = 0
    """Open loop with `max_concurrency`: sent requests that had waited for a place."""
    last_due_ns: int | None = None
    """When the last request could have been sent: its scheduled time, or when its place became free if that was later.
    None: no request waited for a place, so that it is the last scheduled time."""
    achieved_share_p1: float | None = None
    """Over windows (`load.windows`), like the next; None if there are no windows."""
    cpu_share_p99: float | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    over: bool = False
    """Whether all requests were issued, so that nothing stopped it early."""


class ClientHealth(msgspec.Struct, kw_only=True, frozen=True):
    """Health of all load workers of a phase. Each value is that of the worst worker unless stated otherwise."""

    workers: int
    client_lag_ms: Quantiles | None
    """Time from the kernel's stamp to the read, which does not affect stamps. Subsampled evenly beyond 262,144 reads of
    a worker."""
    turnaround_ms: Quantiles | None
    """Closed loop: from the last byte of a response, as the kernel stamped it, to the next request in the same slot."""
    schedule_lateness_ms: Quantiles | None
    """Open loop: from the scheduled time to `send_start_ns`. A request that waited for a place is late only from when
    the place became free."""
    vacancy: float | None
    """Closed loop, and open loop with `max_concurrency`, all workers: share of the concurrency that was not in
    flight because the client had not sent the next request yet: sum of turnarounds / (sum of turnarounds + sum of
    latencies). Failed requests do not count. None if no request followed a response at once."""
    vacancy_p99: float | None
    """The same by second: the value that 99 % of them do not exceed. A phase with fewer than two seconds is judged as a
    whole; of several, the single worst second is excluded."""
    cpu_share: float
    """CPU seconds over wall seconds of the busiest worker."""
    cpu_share_p99: float
    """As `vacancy_p99`, over windows of a second or more."""
    asked: float | None
    """Requested concurrency or mean rate; None for stages, each of which has its own."""
    achieved: float | None
    """Achieved value. Closed loop: time-weighted mean in flight from full load to the last issue. None if unknown."""
    achieved_share_p1: float | None
    """Open loop: share of the schedule's own pace that 99 % of windows reach. Random arrivals, ramps and stages do not
    lower it; being late does."""
    reads: int = 0
    """All workers: reads of complete responses."""
    user_stamped_reads: int = 0
    """All workers: reads that the client stamped itself, because the kernel's stamp was missing or void."""
    clock_steps: int = 0
    clock_error_ns: int = 0
    """Upper bound on the error of turning the kernel's stamps into CLOCK_MONOTONIC."""
    possible: float | None = None
    """Open loop with `max_concurrency`: the mean rate at which requests could have been sent, because their time had
    come and a place was free. The budget compares `achieved` with it. None: no request waited for a place."""
    held: int = 0
    """Open loop with `max_concurrency`, all workers: requests that waited for a place."""
    violations: tuple[str, ...] = ()
    """One sentence for each budget exceeded; not empty means client-bound."""


class PhaseAccount(msgspec.Struct, kw_only=True):
    """Result of one phase, from the engine's counters.

    Always: `issued == succeeded + failed + interrupted`.
    """

    label: str
    issued: int
    succeeded: int
    failed: int
    interrupted: int
    resent: int
    failures: dict[str, int]
    """Failed requests by type."""
    start_ns: int
    """Start of the phase, to which scheduled times are relative."""
    first_issue_ns: int | None
    last_issue_ns: int | None
    last_completion_ns: int | None
    full_load_ns: int | None
    """Closed loop: first instant with the whole concurrency in flight and no warm-up request. Open loop: end of the
    ramp."""
    peak_in_flight: int
    """Sum of the load workers' maxima. Closed loop: exact if the concurrency was reached. Open loop with several load
    workers: an upper bound on the maximum at one time."""
    health: ClientHealth
    complete: bool
    """Whether the phase reached its own stop condition: not cut off, no dead load worker, no interrupted request. Later
    phases do not matter."""


class PhaseResult(PhaseAccount, kw_only=True):
    """What the engine returns for one phase. Records stay on disk in `folder`."""

    folder: str


class PhaseFile(PhaseAccount, kw_only=True):
    """What `phase.json` holds, beside the logs of the phase."""

    version: int = PHASE_VERSION
    point: str
    nonce: str
    """Of the session."""

    @classmethod
    def of(cls, account: PhaseAccount, *, point: str, nonce: str) -> PhaseFile:
        return cls(point=point, nonce=nonce, **_account_of(account))

    def result(self, folder: Path) -> PhaseResult:
        """Return the result of the phase whose logs are in `folder`."""
        return PhaseResult(folder=str(folder), **_account_of(self))


def _account_of(account: PhaseAccount) -> dict[str, Any]:
    return {name: getattr(account, name) for name in PhaseAccount.__struct_fields__}


class CacheReset(msgspec.Struct, frozen=True, kw_only=True):
    """One reset that the server confirmed, for the evidence."""

    url: str
    path: str
    status: int
    asked_ns: int
    """CLOCK_MONOTONIC."""
    confirmed_ns: int
