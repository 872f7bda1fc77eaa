"""What a phase leaves behind: one record a request, and the client's account of itself.

Times ending in `_ns` are CLOCK_MONOTONIC nanoseconds. Those of received bytes are the kernel's, when it had them; the
others are taken in the load worker. None means that the event did not happen. Field names are the wire format of
`requests.<w>.jsonl`, version `REQUESTS_VERSION`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

REQUESTS_VERSION = 2
PHASE_VERSION = 2

RequestOutcome = Literal["succeeded", "failed", "interrupted"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Token counts as the server reported them; None where it did not."""

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
    """One request's life."""

    seq: int
    """Position in its file, from 0 without a gap."""
    request_id: str
    index: int
    """Position in the phase's order of issue; fixes the sample."""
    sample_index: int
    endpoint: int = 0
    scheduled_ns: int | None = None
    """Open loop and burst: when the schedule wanted it issued."""
    send_start_ns: int
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
    """How much later than its stamp the load worker saw each of these moments, of those that are known. 0: the stamp is
    the load worker's own. None: nothing was read."""
    uncertainty_ns: Moments | None = None
    """How much earlier than its stamp each moment may have been: it was read together with what came later, or the
    stamp is the load worker's own. 0, and None, where it is exact."""
    event_count: int = 0
    content_event_count: int = 0
    content_gaps_ns: tuple[int, ...] = ()
    """Gaps between successive content events: `content_event_count - 1` of them."""
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
    """Time the server says it spent on inference (video APIs)."""
    text_sha256: str | None = None
    """Digest of the delivered text, where texts are hashed rather than kept."""
    output_empty: bool = False
    request_bytes: int = 0
    response_bytes: int = 0
    resent: bool = False
    """Re-sent once because a connection that had been idle ended before any response byte."""
    polls: int = 0
    """How often a job was asked for after it had been accepted; latencies are late by up to one poll interval."""


class TextRecord(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One line of `texts.<w>.jsonl`: what a request delivered, by kind."""

    request_id: str
    sample_index: int
    content: str = ""
    reasoning: str = ""
    tool_calls: str = ""
    first_event_text: str = ""
    """Text of the first content event, which is part of the others: time per output token leaves its tokens out."""
    token_ids: list[int] = []
    """Ids of the output tokens, where the endpoint gives them."""


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
    """One load worker's account of one phase, sent to the parent when the phase is over."""

    worker: int
    issued: int = 0
    succeeded: int = 0
    failed: int = 0
    interrupted: int = 0
    resent: int = 0
    failures: dict[str, int] = {}
    """Failed requests by type."""
    peak_in_flight: int = 0
    """Most requests in flight as one of this phase was issued, those of a phase before it included."""
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
    """Of these, those without a usable stamp of the kernel's."""
    clock_steps: int = 0
    """How often CLOCK_REALTIME was set during the phase."""
    clock_error_ns: int = 0
    """Upper bound on the error of turning the kernel's stamps into CLOCK_MONOTONIC."""
    client_lag_ms: Quantiles | None = None
    turnaround_ms: Quantiles | None = None
    schedule_lateness_ms: Quantiles | None = None
    vacant_ns: int = 0
    """Closed loop: the sum of all turnarounds."""
    busy_ns: int = 0
    """Closed loop: the sum of the latencies of all answered requests, from `send_start_ns` to `end_ns`."""
    vacancy_p99: float | None = None
    """Of windows (`load.windows`), as the next two; None where there were none."""
    cpu_share_p99: float | None = None
    achieved_share_p1: float | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    over: bool = False
    """Issued all that it had to: nothing stopped it before."""


class ClientHealth(msgspec.Struct, kw_only=True, frozen=True):
    """All load workers of a phase taken together: the worst of each, unless it says otherwise."""

    workers: int
    client_lag_ms: Quantiles | None
    """How much later than the kernel the client had what it read: delays that stamps are free of. Of more than 262,144
    reads of a worker, evenly chosen ones."""
    turnaround_ms: Quantiles | None
    """Closed loop: from the last byte of a response, as the kernel stamped it, to the next request on that place."""
    schedule_lateness_ms: Quantiles | None
    """Open loop: from the scheduled time to `send_start_ns`."""
    vacancy: float | None
    """Closed loop, all workers: the share of the asked concurrency that was not in flight because the client had not
    sent the next request yet: sum of turnarounds / (sum of turnarounds + sum of latencies). Requests that failed are
    left out. None where nothing followed upon an answer."""
    vacancy_p99: float | None
    """The same of windows of a second: what 99 % of them do not exceed. A phase that does not make two is one window;
    of several, the single worst is excluded."""
    cpu_share: float
    """CPU seconds over wall seconds of the busiest worker."""
    cpu_share_p99: float
    """As `vacancy_p99`."""
    asked: float | None
    """Concurrency or rate the load asked for; None for stages, which ask for one after the other."""
    achieved: float | None
    """Of that: in closed loop the mean number in flight from full load to the last issue, weighted by time. None where
    there is nothing to say."""
    achieved_share_p1: float | None
    """Open loop: what 99 % of windows reach of the schedule's own pace, so that random arrivals, ramps and stages are
    no shortfall, and being late is."""
    reads: int = 0
    """All workers: reads of complete responses."""
    user_stamped_reads: int = 0
    """All workers: reads that the client stamped itself, because the kernel's stamp was missing or void."""
    clock_steps: int = 0
    clock_error_ns: int = 0
    """Upper bound on the error of turning the kernel's stamps into CLOCK_MONOTONIC."""
    violations: tuple[str, ...] = ()
    """One sentence for each budget exceeded; not empty means client-bound."""


class PhaseAccount(msgspec.Struct, kw_only=True):
    """How one phase went, by the engine's own counters.

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
    """The phase's zero: scheduled times count from it."""
    first_issue_ns: int | None
    last_issue_ns: int | None
    last_completion_ns: int | None
    full_load_ns: int | None
    """Closed loop: first instant with all of the concurrency in flight, none of it left of a warm-up. Open loop:
    end of the ramp."""
    peak_in_flight: int
    """The sum of each load worker's most. Closed loop: exact where the concurrency was reached. Open loop: with
    several load workers never less than the most at one time, and more where they had theirs at different times."""
    health: ClientHealth
    complete: bool
    """Ran to its own stop condition: not cut off, no load worker dead, nothing interrupted. What became of the
    phases after it does not matter."""


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
        fields = {name: getattr(account, name) for name in PhaseAccount.__struct_fields__}
        return cls(point=point, nonce=nonce, **fields)
