"""Every metric by name: its unit, kind, better direction, and definition in words.

Reference pages are generated from this table. `names.py` checks the names in suites against it, and `formulas.py`
computes the metrics.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["distribution", "scalar"]
Better = Literal["lower", "higher", "neither"]

PERCENTILES: dict[str, float] = {
    "p1": 0.01,
    "p5": 0.05,
    "p10": 0.10,
    "p25": 0.25,
    "p50": 0.50,
    "p75": 0.75,
    "p80": 0.80,
    "p90": 0.90,
    "p95": 0.95,
    "p97": 0.97,
    "p99": 0.99,
    "p99.9": 0.999,
}
"""Percentiles of a distribution, exact, as the lower of two neighbours (numpy `method="lower"`)."""

EARLY_STOPPING: dict[str, float] = {
    f"early_stopping_{name}": PERCENTILES[name] for name in ("p50", "p90", "p95", "p97", "p99", "p99.9")
}
"""MLPerf's early-stopping estimates; only latencies of whole requests have them."""

STATISTICS: tuple[str, ...] = ("min", "max", "mean", "stddev", *PERCENTILES)
"""Statistics of any distribution, written after the dot. `stddev` is the sample standard deviation (n - 1)."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """Definition of one metric."""

    name: str
    unit: str
    """Base unit of its values: `ns`, `fraction`, `tokens`, `requests/s`, …"""
    kind: Kind
    better: Better
    per_request: bool = False
    """Whether there is one value for each request, so that an `slo` may limit it."""
    description: str

    @property
    def early_stopping(self) -> bool:
        """Whether MLPerf's early-stopping estimates apply: to latencies with one value for each request."""
        return self.per_request and self.unit == "ns" and self.better == "lower"

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names that may follow the dot; empty for a scalar."""
        if self.kind == "scalar":
            return ()
        return (*STATISTICS, *EARLY_STOPPING) if self.early_stopping else STATISTICS


def _per_request(name: str, unit: str, better: Better, description: str) -> Definition:
    return Definition(
        name=name, unit=unit, kind="distribution", better=better, per_request=True, description=description
    )


def _pooled(name: str, unit: str, better: Better, description: str) -> Definition:
    return Definition(name=name, unit=unit, kind="distribution", better=better, description=description)


def _scalar(name: str, unit: str, better: Better, description: str) -> Definition:
    return Definition(name=name, unit=unit, kind="scalar", better=better, description=description)


_TABLE: tuple[Definition, ...] = (
    _per_request(
        "time_to_first_token",
        "ns",
        "lower",
        "First non-empty content, reasoning or tool delta - send_start. "
        "A role-only or empty chunk is not a token.",
    ),
    _per_request(
        "time_to_first_output_token",
        "ns",
        "lower",
        "First non-empty content or tool delta, reasoning excluded - send_start.",
    ),
    _per_request(
        "scheduled_time_to_first_token",
        "ns",
        "lower",
        "As time_to_first_token, from the scheduled time: free of coordinated omission.",
    ),
    _per_request("request_latency", "ns", "lower", "Last content - send_start."),
    _per_request(
        "scheduled_request_latency",
        "ns",
        "lower",
        "As request_latency, from the scheduled time: free of coordinated omission.",
    ),
    _per_request(
        "time_per_output_token",
        "ns",
        "lower",
        "(last content - first content) / (output tokens - tokens in the first content event). LoadGen and vLLM "
        "divide by (output tokens - 1), which is lower if the first event holds several tokens. Requests without "
        "later tokens have no value, and neither have those whose content events all have the same time stamp.",
    ),
    _per_request(
        "output_token_throughput_per_user",
        "tokens/s",
        "higher",
        "1 / time_per_output_token: the rate that one user sees.",
    ),
    _pooled(
        "inter_chunk_latency",
        "ns",
        "lower",
        "Gaps between successive content events, pooled over all succeeded requests except those whose content "
        "events all have the same time stamp.",
    ),
    _pooled(
        "inter_token_latency",
        "ns",
        "lower",
        "Gaps between tokens, pooled over streams whose events have known token counts: the server reports usage "
        "with every event, or every event is proven to hold one token. Null if these are less than 90 % of all "
        "streams. An event of k tokens counts k times, each time with 1/k of the gap before it.",
    ),
    _pooled("connect_time", "ns", "lower", "Connection set-up, over requests that opened a connection."),
    _pooled(
        "schedule_lateness",
        "ns",
        "lower",
        "send_start - scheduled time, over every issued request. For a request that waited under `max_concurrency`: "
        "send_start - the time at which its place became free.",
    ),
    _per_request(
        "server_inference_time", "ns", "lower", "Time of inference that the server reports (video APIs)."
    ),
    _per_request(
        "input_tokens", "tokens", "neither", "Input length, from the count that `tokens: {count: …}` selects."
    ),
    _per_request(
        "output_tokens",
        "tokens",
        "neither",
        "Output length, from the count that `tokens: {count: …}` selects.",
    ),
    _per_request(
        "server_input_tokens", "tokens", "neither", "Input length as the server's usage reports it."
    ),
    _per_request(
        "server_output_tokens", "tokens", "neither", "Output length as the server's usage reports it."
    ),
    _per_request(
        "server_cached_tokens",
        "tokens",
        "neither",
        "Input tokens that came from the server's cache, as its usage reports.",
    ),
    _per_request(
        "token_count_difference",
        "tokens",
        "lower",
        "|output tokens by the client's tokenizer - output tokens by the server's usage|.",
    ),
    _scalar(
        "server_cached_token_share",
        "fraction",
        "neither",
        "Share of input tokens that came from the server's cache, as its usage reports, over succeeded "
        "requests.",
    ),
    _scalar(
        "token_count_mean_difference",
        "fraction",
        "lower",
        "|mean output tokens by the client's tokenizer - mean by the server's usage| / mean by usage, over "
        "requests with both. Single requests may differ: tokenizing a text again is not always exact.",
    ),
    _scalar(
        "output_tokens_requested_share",
        "fraction",
        "higher",
        "Output tokens delivered / output tokens asked for, over succeeded requests.",
    ),
    _scalar(
        "request_throughput",
        "requests/s",
        "higher",
        "Succeeded requests / (first issue to last completion), over the whole phase.",
    ),
    _scalar(
        "steady_request_throughput",
        "requests/s",
        "higher",
        "Requests that succeed within the steady-state window / its length. Closed loop: from the time when the "
        "whole concurrency is in flight and no request of a warm-up is, to the last issue. Open loop: from the end "
        "of the ramp to the last arrival.",
    ),
    _scalar(
        "output_token_throughput",
        "tokens/s",
        "higher",
        "Output tokens of succeeded requests / (first issue to last completion).",
    ),
    _scalar(
        "steady_output_token_throughput",
        "tokens/s",
        "higher",
        "Output tokens delivered within the steady-state window / its length. A token has the time stamp of its "
        "event. If the server does not report the tokens of each event, they are divided evenly among the events "
        "of the request.",
    ),
    _scalar(
        "total_token_throughput",
        "tokens/s",
        "higher",
        "Input and output tokens of succeeded requests / (first issue to last completion).",
    ),
    _scalar(
        "server_scenario_throughput",
        "requests/s",
        "higher",
        "LoadGen's completed samples per second of the Server scenario: "
        "(completed - 1) / (first issue to completion of the last issued).",
    ),
    _scalar(
        "goodput",
        "requests/s",
        "higher",
        "Requests that meet every declared limit / (first issue to last completion). "
        "A request without a value for a metric does not meet a limit on it.",
    ),
    _scalar(
        "good_request_fraction",
        "fraction",
        "higher",
        "Requests that meet every declared limit / attempted requests.",
    ),
    _scalar("failed_requests", "requests", "lower", "Requests that failed, of any type."),
    _scalar("error_rate", "fraction", "lower", "Failed requests / requests that ended."),
    _scalar(
        "resent_requests",
        "requests",
        "lower",
        "Requests that were sent twice, because an idle connection was closed before any byte of the response.",
    ),
    _scalar("empty_outputs", "requests", "lower", "Succeeded requests that delivered no output."),
    _scalar("video_throughput", "videos/s", "higher", "Videos delivered / (first issue to last completion)."),
    _scalar(
        "video_seconds_throughput",
        "s/s",
        "higher",
        "Seconds of video delivered / seconds from first issue to last completion.",
    ),
)

DEFINITIONS: dict[str, Definition] = {definition.name: definition for definition in _TABLE}
"""Every metric of a perf point, by name, in the order of display."""

COUNTS_TOKENS = frozenset(
    {
        "time_per_output_token",
        "output_token_throughput_per_user",
        "input_tokens",
        "output_tokens",
        "output_tokens_requested_share",
        "output_token_throughput",
        "steady_output_token_throughput",
        "total_token_throughput",
    }
)
"""Metrics that need token counts, from the client's tokenizer or the server's usage."""

NEEDS_STREAM = frozenset(
    {
        "time_to_first_token",
        "time_to_first_output_token",
        "scheduled_time_to_first_token",
        "time_per_output_token",
        "output_token_throughput_per_user",
        "inter_chunk_latency",
        "inter_token_latency",
    }
)
"""Metrics of answers that arrive in events."""

COMPARES_COUNTS = frozenset({"token_count_difference", "token_count_mean_difference"})
"""Metrics that need both counts, of the client's tokenizer and of the server."""

SHARES = frozenset({"error_rate", "good_request_fraction"})
"""Scalars that are a share of requests."""

RATES = frozenset({"request_throughput", "goodput"})
"""Scalars that count requests over the whole phase."""
