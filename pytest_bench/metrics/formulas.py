"""The formula of every metric: a small pure function each, from one phase to a number or a column.

A function raises `NotDefined`, with the reason, if its metric is null. Meaning and sources are in
`definitions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pytest_bench.bounds import Bound
from pytest_bench.metrics.columns import Columns
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.token_counts import ABSENT, Lengths
from pytest_bench.metrics.token_source import Chosen
from pytest_bench.records import PhaseResult
from pytest_bench.workload import OPEN_LOOP, Load

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


MOST_BUFFERED = 0.01
"""Highest share of streams without a time between events for which such times are still reported."""


class NotDefined(Exception):
    """The metric is null for this phase; the message is the reason. Never raised out of this room."""


@dataclass(frozen=True)
class Observed:
    """One phase and its declared settings."""

    columns: Columns
    phase: PhaseResult
    load: Load
    tokens: Chosen
    no_steady_state: str
    """Why `columns.steady_state` is None."""
    slo: tuple[Bound, ...]
    asked_output_tokens: int | Mapping[int, int] | None
    """Requested output tokens: one number for all requests, or by sample index."""
    video_seconds: float | Mapping[int, float] | None
    """Requested length of videos: one number for all, or by sample index; None for an API without videos."""

    @cached_property
    def succeeded(self) -> NDArray[np.bool_]:
        return self.columns.succeeded

    @cached_property
    def whole(self) -> Window:
        """First issue to last completion."""
        ended = self.columns.succeeded | self.columns.failed
        if not ended.any():
            raise NotDefined("no request ended")
        start, end = int(self.columns.send_start_ns.min()), int(self.columns.end_ns[ended].max())
        if end <= start:
            raise NotDefined("the phase took no time")
        return Window(start_ns=start, end_ns=end)

    @property
    def steady_state(self) -> Window:
        if self.columns.steady_state is None:
            raise NotDefined(self.no_steady_state)
        return self.columns.steady_state

    @cached_property
    def lengths(self) -> Lengths:
        """Token counts of each row from the chosen source. Every succeeded request has them."""
        lengths = self.tokens.lengths
        if lengths is None:
            raise NotDefined(self.tokens.source.reason)
        uncounted = int((self.succeeded & (lengths.output == ABSENT)).sum())
        if uncounted:
            raise NotDefined(f"{uncounted} of {self.succeeded.sum()} succeeded requests have no token count")
        return lengths

    @cached_property
    def buffered(self) -> NDArray[np.bool_]:
        """Succeeded requests whose content events (several) all have one stamp."""
        columns = self.columns
        at_once = columns.first_content_ns == columns.last_content_ns
        return np.asarray(self.succeeded & at_once & (columns.content_events > 1))

    @cached_property
    def buffered_note(self) -> str | None:
        """Number of streams without gaps because all events arrived at once, as a note; None if there are none.

        Raises `NotDefined` if they are more than `MOST_BUFFERED` of all streams: what the others say is then no
        longer true of the phase.
        """
        streams = int((self.succeeded & (self.columns.content_events > 1)).sum())
        buffered = int(self.buffered.sum())
        if not buffered:
            return None
        why = f"in {buffered} of {streams} streams all content events carry one stamp: they came at once"
        if buffered > MOST_BUFFERED * streams:
            raise NotDefined(f"{why}, as through a proxy that buffers responses")
        return f"{why}; they are left out"

    @cached_property
    def one_token_an_event(self) -> NDArray[np.bool_]:
        """Streams whose content events are all known to hold one token.

        Usage proves it where it counts as many tokens as there were events; an end-of-sequence token, which has no
        event, may come on top. Without usage, the tokenizer's count must equal the number of events.
        """
        columns = self.columns
        usage, events = columns.server_output_tokens, columns.content_events
        proven = (usage == events) | (columns.ended_itself & (usage == events + 1))
        if self.tokens.tokenized is not None:
            proven = np.where(usage == ABSENT, self.tokens.tokenized.output == events, proven)
        return np.asarray(proven & (events > 0))

    @property
    def uncounted(self) -> str | None:
        """Why some output has no count at all; None if every output has one."""
        if (
            self.tokens.tokenized is not None
            or (self.columns.server_output_tokens[self.succeeded] != ABSENT).all()
        ):
            return None
        return self.tokens.source.reason or "neither a tokenizer nor usage counts every output"

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Requests that meet every limit of the slo."""
        return self.meeting(lambda limit: PER_REQUEST[limit.metric](self))

    def meeting(self, values_of: Callable[[Bound], Floats]) -> NDArray[np.bool_]:
        """Succeeded requests whose values, returned by `values_of`, meet every limit of the slo."""
        if not self.slo:
            raise NotDefined("the suite declares no slo for this point")
        good = self.succeeded.copy()
        for limit in self.slo if good.any() else ():
            values = values_of(limit).tolist()
            good &= np.fromiter((limit.holds(value) for value in values), dtype=bool, count=good.size)
        return good


def elapsed(later: Ints, earlier: Ints) -> Floats:
    known = (later != ABSENT) & (earlier != ABSENT)
    return np.where(known, later - earlier, np.nan)


def _present(values: Ints) -> Floats:
    return np.where(values != ABSENT, values, np.nan)


def ratio(above: Floats, below: Floats | Ints) -> Floats:
    """Quotient; NaN if `below` is not positive."""
    ratios = np.full(above.size, np.nan)
    np.divide(above, below, out=ratios, where=below > 0)
    return ratios


def _require_stream(seen: Observed) -> None:
    if not (seen.columns.first_content_ns[seen.succeeded] != ABSENT).any():
        raise NotDefined("not streamed: no succeeded request delivered content in events")


def _require_schedule(seen: Observed) -> None:
    if not (seen.columns.scheduled_ns != ABSENT).any():
        raise NotDefined("closed loop: requests have no scheduled time")


def time_to_first_token(seen: Observed) -> Floats:
    """MLPerf Inference rules (TTFT), LoadGen's first-token latency; as in the benchmarks of vLLM and SGLang."""
    _require_stream(seen)
    return elapsed(seen.columns.first_content_ns, seen.columns.send_start_ns)


def time_to_first_output_token(seen: Observed) -> Floats:
    """AIPerf's time to first output token, without reasoning."""
    _require_stream(seen)
    return elapsed(seen.columns.first_output_ns, seen.columns.send_start_ns)


def scheduled_time_to_first_token(seen: Observed) -> Floats:
    """Tene, How NOT to Measure Latency (2013): from the scheduled time, as LoadGen's Server scenario."""
    _require_stream(seen)
    _require_schedule(seen)
    return elapsed(seen.columns.first_content_ns, seen.columns.scheduled_ns)


def request_latency(seen: Observed) -> Floats:
    """LoadGen's sample latency; AIPerf's request latency, also called end-to-end latency."""
    return elapsed(seen.columns.last_content_ns, seen.columns.send_start_ns)


def scheduled_request_latency(seen: Observed) -> Floats:
    """As `scheduled_time_to_first_token`; wrk2 made it common."""
    _require_schedule(seen)
    return elapsed(seen.columns.last_content_ns, seen.columns.scheduled_ns)


def time_per_output_token(seen: Observed) -> Floats:
    """Ours: the time after the first content event divided by the tokens after it.

    LoadGen and vLLM divide the same time by all tokens but one, so their value is lower if the first event holds
    several tokens; with one token an event the two are equal.
    """
    _require_stream(seen)
    _ = seen.buffered_note
    duration = elapsed(seen.columns.last_content_ns, seen.columns.first_content_ns)
    lengths = seen.lengths
    counted = (lengths.output != ABSENT) & (lengths.first_event != ABSENT)
    # Content that all came with one stamp took no time that anybody could measure.
    later = np.where(counted & (duration > 0), lengths.output - lengths.first_event, 0)
    return ratio(duration, later)


def output_token_throughput_per_user(seen: Observed) -> Floats:
    """AIPerf's output token throughput per user."""
    nanoseconds = time_per_output_token(seen)
    return ratio(np.full(nanoseconds.size, 1e9), nanoseconds)


def server_inference_time(seen: Observed) -> Floats:
    """As the server reports it: `inference_time_s` of video APIs."""
    return _present(seen.columns.server_time_ns)


def input_tokens(seen: Observed) -> Floats:
    """By the count that the deployment asks for (`token_source.choose`)."""
    return _present(seen.lengths.input)


def output_tokens(seen: Observed) -> Floats:
    """By the count that the deployment asks for (`token_source.choose`)."""
    return _present(seen.lengths.output)


def server_input_tokens(seen: Observed) -> Floats:
    """OpenAI API: `usage.prompt_tokens`."""
    return _present(seen.columns.server_input_tokens)


def server_output_tokens(seen: Observed) -> Floats:
    """OpenAI API: `usage.completion_tokens`."""
    return _present(seen.columns.server_output_tokens)


def server_cached_tokens(seen: Observed) -> Floats:
    """OpenAI API: `usage.prompt_tokens_details.cached_tokens`."""
    return _present(seen.columns.server_cached_tokens)


def token_count_difference(seen: Observed) -> Floats:
    """Ours: difference between the two counts of one output."""
    if seen.tokens.tokenized is None:
        raise NotDefined("no tokenizer counted: there is nothing to compare with the server's usage")
    return np.abs(_present(seen.tokens.tokenized.output) - server_output_tokens(seen))


PER_REQUEST: dict[str, Callable[[Observed], Floats]] = {
    function.__name__: function
    for function in (
        time_to_first_token,
        time_to_first_output_token,
        scheduled_time_to_first_token,
        request_latency,
        scheduled_request_latency,
        time_per_output_token,
        output_token_throughput_per_user,
        server_inference_time,
        input_tokens,
        output_tokens,
        server_input_tokens,
        server_output_tokens,
        server_cached_tokens,
        token_count_difference,
    )
}
"""A value for each row, NaN where it has none; statistics are taken over succeeded requests."""


def connect_time(seen: Observed) -> Floats:
    """Time of the TCP and TLS handshakes."""
    return _present(seen.columns.connect_ns)


def schedule_lateness(seen: Observed) -> Floats:
    """Ours: how late the client sent the request."""
    if seen.load.pattern == "burst":
        raise NotDefined("a burst wants everything at once: waiting for a connection is not lateness")
    _require_schedule(seen)
    return elapsed(seen.columns.send_start_ns, seen.columns.scheduled_ns)


PER_ISSUE: dict[str, Callable[[Observed], Floats]] = {
    function.__name__: function for function in (connect_time, schedule_lateness)
}
"""Metrics of the client. Statistics are over every issued request, however it ended."""


def token_count_mean_difference(seen: Observed) -> float:
    """Ours: over succeeded requests with both counts. Retokenization may change single counts."""
    _require_success(seen)
    if seen.tokens.tokenized is None:
        raise NotDefined("no tokenizer counted: there is nothing to compare with the server's usage")
    source = seen.tokens.source
    if source.difference is None or source.usage_mean is None:
        raise NotDefined("the server reports no usage")
    if not source.usage_mean:
        raise NotDefined("the server's usage counts no output token")
    return abs(source.difference) / source.usage_mean


def output_tokens_requested_share(seen: Observed) -> float:
    """Ours: 1 if every succeeded request has the requested length."""
    asked = seen.asked_output_tokens
    if asked is None:
        raise NotDefined("requests ask for no number of output tokens")
    _require_success(seen)
    samples = seen.columns.sample_index[seen.succeeded]
    wanted = sum(asked if isinstance(asked, int) else asked[sample] for sample in samples.tolist())
    return float(seen.lengths.output[seen.succeeded].sum() / wanted)


def _require_success(seen: Observed) -> None:
    if not seen.succeeded.any():
        raise NotDefined("no request succeeded")


def request_throughput(seen: Observed) -> float:
    """As vLLM's, SGLang's and GuideLLM's benchmarks: successes over the whole duration."""
    return int(seen.succeeded.sum()) / seen.whole.seconds


def steady_request_throughput(seen: Observed) -> float:
    """The same within the window of `measure.steady_state_of`, which excludes ramp and tail."""
    return succeeded_within(seen, seen.steady_state) / seen.steady_state.seconds


def succeeded_within(seen: Observed, window: Window) -> int:
    """Requests that succeeded within (start, end] of `window`."""
    ends = seen.columns.end_ns[seen.succeeded]
    return int(((ends > window.start_ns) & (ends <= window.end_ns)).sum())


def output_token_throughput(seen: Observed) -> float:
    """As vLLM's, SGLang's and GuideLLM's benchmarks."""
    return int(seen.lengths.output[seen.succeeded].sum()) / seen.whole.seconds


def steady_output_token_throughput(seen: Observed) -> float:
    """The same within the window, each token placed by its event's stamp (`columns.share_within`)."""
    window = seen.steady_state
    tokens = seen.lengths.output[seen.succeeded] @ seen.columns.steady_share[seen.succeeded]
    return float(tokens / window.seconds)


def total_token_throughput(seen: Observed) -> float:
    """As vLLM's and SGLang's benchmarks: input and output together."""
    tokens_in = seen.lengths.input[seen.succeeded]
    if (tokens_in == ABSENT).any():
        raise NotDefined("input tokens were not counted for every succeeded request")
    return int(tokens_in.sum() + seen.lengths.output[seen.succeeded].sum()) / seen.whole.seconds


def server_scenario_throughput(seen: Observed) -> float:
    """LoadGen `results.cc`: "Completed samples per second" of the Server scenario."""
    if seen.load.pattern not in OPEN_LOOP:
        raise NotDefined("the load is not open loop, as MLPerf's Server scenario is")
    _require_success(seen)
    columns = seen.columns
    last_issued = np.lexsort((columns.index, columns.send_start_ns))[-1]
    seconds = int(columns.end_ns[last_issued] - columns.send_start_ns.min()) / 1e9
    if seconds <= 0:
        raise NotDefined("the phase took no time")
    return (int(seen.succeeded.sum()) - 1) / seconds


def goodput(seen: Observed) -> float:
    """Zhong et al., DistServe (OSDI 2024): requests per second that meet every limit."""
    return int(seen.good.sum()) / seen.whole.seconds


def good_request_fraction(seen: Observed) -> float:
    """DistServe's SLO attainment, over all attempted requests."""
    if not len(seen.columns):
        raise NotDefined("no request was issued")
    return int(seen.good.sum()) / len(seen.columns)


def failed_requests(seen: Observed) -> float:
    """Counted; types are `records.ERROR_TYPES`."""
    return int(seen.columns.failed.sum())


def error_rate(seen: Observed) -> float:
    """Share of failed requests among those that ended. Interrupted requests are excluded."""
    failed = int(seen.columns.failed.sum())
    ended = failed + int(seen.succeeded.sum())
    if not ended:
        raise NotDefined("no request ended")
    return failed / ended


def resent_requests(seen: Observed) -> float:
    """Counted: requests that were sent twice (`records.RequestRecord.resent`)."""
    return int(seen.columns.resent.sum())


def empty_outputs(seen: Observed) -> float:
    """Counted: succeeded requests without output."""
    return int((seen.succeeded & seen.columns.empty).sum())


def server_cached_token_share(seen: Observed) -> float:
    """Ours: `server_cached_tokens` as a share of `server_input_tokens`."""
    cached, tokens = seen.columns.server_cached_tokens, seen.columns.server_input_tokens
    known = seen.succeeded & (cached != ABSENT) & (tokens > 0)
    if not known.any():
        raise NotDefined("the server reports no cached tokens")
    return float(cached[known].sum(dtype=np.float64) / tokens[known].sum(dtype=np.float64))


def video_throughput(seen: Observed) -> float:
    """As `request_throughput`, for APIs that deliver videos."""
    if seen.video_seconds is None:
        raise NotDefined("the API delivers no videos")
    return request_throughput(seen)


def video_seconds_throughput(seen: Observed) -> float:
    """The same, weighted by the requested length of each video."""
    asked = seen.video_seconds
    if asked is None:
        raise NotDefined("the API delivers no videos")
    if isinstance(asked, float):
        return request_throughput(seen) * asked
    samples = seen.columns.sample_index[seen.succeeded]
    return float(sum(asked[sample] for sample in samples.tolist())) / seen.whole.seconds


SCALARS: dict[str, Callable[[Observed], float]] = {
    function.__name__: function
    for function in (
        server_cached_token_share,
        token_count_mean_difference,
        output_tokens_requested_share,
        request_throughput,
        steady_request_throughput,
        output_token_throughput,
        steady_output_token_throughput,
        total_token_throughput,
        server_scenario_throughput,
        goodput,
        good_request_fraction,
        failed_requests,
        error_rate,
        resent_requests,
        empty_outputs,
        video_throughput,
        video_seconds_throughput,
    )
}
"""One number for the phase."""
