"""The formula of every metric: a small pure function each, from one phase to a number or a column.

A function raises `NotDefined`, with the reason, if its metric is null. Meaning and sources are in
`definitions.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pytest_bench.bounds import Bound
from pytest_bench.metrics.measurement import Window
from pytest_bench.metrics.observed import (
    Floats,
    NotDefined,
    Observed,
    elapsed,
    present,
    ratio,
    require_schedule,
    require_stream,
    require_success,
)
from pytest_bench.metrics.token_counts import ABSENT
from pytest_bench.workload import OPEN_LOOP


def time_to_first_token(seen: Observed) -> Floats:
    """MLPerf Inference rules (TTFT), LoadGen's first-token latency; as in the benchmarks of vLLM and SGLang."""
    require_stream(seen)
    return elapsed(seen.columns.first_content_ns, seen.columns.send_start_ns)


def time_to_first_output_token(seen: Observed) -> Floats:
    """AIPerf's time to first output token, without reasoning."""
    require_stream(seen)
    return elapsed(seen.columns.first_output_ns, seen.columns.send_start_ns)


def scheduled_time_to_first_token(seen: Observed) -> Floats:
    """Tene, How NOT to Measure Latency (2013): from the scheduled time, as LoadGen's Server scenario."""
    require_stream(seen)
    require_schedule(seen)
    return elapsed(seen.columns.first_content_ns, seen.columns.scheduled_ns)


def request_latency(seen: Observed) -> Floats:
    """LoadGen's sample latency; AIPerf's request latency, also called end-to-end latency."""
    return elapsed(seen.columns.last_content_ns, seen.columns.send_start_ns)


def scheduled_request_latency(seen: Observed) -> Floats:
    """As `scheduled_time_to_first_token`, for the whole request; known from wrk2."""
    require_schedule(seen)
    return elapsed(seen.columns.last_content_ns, seen.columns.scheduled_ns)


def time_per_output_token(seen: Observed) -> Floats:
    """Defined here: the time after the first content event divided by the tokens after it.

    LoadGen and vLLM divide the same time by all tokens but one, so their value is lower if the first event holds
    several tokens; with one token per event the two are equal.
    """
    require_stream(seen)
    _ = seen.buffered_note
    duration = elapsed(seen.columns.last_content_ns, seen.columns.first_content_ns)
    lengths = seen.lengths
    counted = (lengths.output != ABSENT) & (lengths.first_event != ABSENT)
    # If all content has one time stamp, its duration could not be measured.
    later = np.where(counted & (duration > 0), lengths.output - lengths.first_event, 0)
    return ratio(duration, later)


def output_token_throughput_per_user(seen: Observed) -> Floats:
    """AIPerf's output token throughput per user."""
    nanoseconds = time_per_output_token(seen)
    return ratio(np.full(nanoseconds.size, 1e9), nanoseconds)


def server_inference_time(seen: Observed) -> Floats:
    """As the server reports it: `inference_time_s` of video APIs."""
    return present(seen.columns.server_time_ns)


def input_tokens(seen: Observed) -> Floats:
    """From the count that the deployment selects (`token_source.choose`)."""
    return present(seen.lengths.input)


def output_tokens(seen: Observed) -> Floats:
    """From the count that the deployment selects (`token_source.choose`)."""
    return present(seen.lengths.output)


def server_input_tokens(seen: Observed) -> Floats:
    """OpenAI API: `usage.prompt_tokens`."""
    return present(seen.columns.server_input_tokens)


def server_output_tokens(seen: Observed) -> Floats:
    """OpenAI API: `usage.completion_tokens`."""
    return present(seen.columns.server_output_tokens)


def server_cached_tokens(seen: Observed) -> Floats:
    """OpenAI API: `usage.prompt_tokens_details.cached_tokens`."""
    return present(seen.columns.server_cached_tokens)


def token_count_difference(seen: Observed) -> Floats:
    """Defined here: the difference between the two counts of one output."""
    if seen.tokens.tokenized is None:
        raise NotDefined("no tokenizer counted: there is nothing to compare with the server's usage")
    return np.abs(present(seen.tokens.tokenized.output) - server_output_tokens(seen))


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
"""A value for each row, NaN if it has none. Statistics are over succeeded requests."""


def connect_time(seen: Observed) -> Floats:
    """Time of the TCP and TLS handshakes."""
    return present(seen.columns.connect_ns)


def schedule_lateness(seen: Observed) -> Floats:
    """Defined here: how late the client sent the request, from when it could send it."""
    if seen.load.pattern == "burst":
        raise NotDefined(
            "a burst schedules every request at the start, so waiting for a connection is not lateness"
        )
    require_schedule(seen)
    return elapsed(seen.columns.send_start_ns, seen.columns.due_ns)


PER_ISSUE: dict[str, Callable[[Observed], Floats]] = {
    function.__name__: function for function in (connect_time, schedule_lateness)
}
"""Metrics of the client. Statistics are over every issued request, however it ended."""


def token_count_mean_difference(seen: Observed) -> float:
    """Defined here: over succeeded requests with both counts. Tokenizing a text again may change single counts."""
    require_success(seen)
    if seen.tokens.tokenized is None:
        raise NotDefined("no tokenizer counted: there is nothing to compare with the server's usage")
    source = seen.tokens.source
    if source.difference is None or source.usage_mean is None:
        raise NotDefined("the server reports no usage")
    if not source.usage_mean:
        raise NotDefined("the server's usage counts no output token")
    return abs(source.difference) / source.usage_mean


def output_tokens_requested_share(seen: Observed) -> float:
    """Defined here: 1 if every succeeded request has the requested length."""
    asked = seen.asked_output_tokens
    if asked is None:
        raise NotDefined("the requests do not ask for a number of output tokens")
    require_success(seen)
    samples = seen.columns.sample_index[seen.succeeded]
    wanted = sum(asked if isinstance(asked, int) else asked[sample] for sample in samples.tolist())
    return float(seen.lengths.output[seen.succeeded].sum() / wanted)


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
    """The same within the window; each token has the time stamp of its event (`columns.share_within`)."""
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
    if seen.load.max_concurrency is not None:
        raise NotDefined("`max_concurrency` limits the load, and MLPerf's Server scenario has no such limit")
    require_success(seen)
    columns = seen.columns
    last_issued = np.lexsort((columns.index, columns.send_start_ns))[-1]
    seconds = int(columns.end_ns[last_issued] - columns.send_start_ns.min()) / 1e9
    if seconds <= 0:
        raise NotDefined("the phase took no time")
    return (int(seen.succeeded.sum()) - 1) / seconds


def good(seen: Observed) -> NDArray[np.bool_]:
    """Requests that meet every limit of the slo."""
    return meeting(seen, lambda limit: PER_REQUEST[limit.metric](seen))


def meeting(seen: Observed, values_of: Callable[[Bound], Floats]) -> NDArray[np.bool_]:
    """Succeeded requests whose values, returned by `values_of`, meet every limit of the slo."""
    if not seen.slo:
        raise NotDefined("the suite declares no slo for this point")
    found = seen.succeeded.copy()
    for limit in seen.slo if found.any() else ():
        found &= limit.holds_each(values_of(limit))
    return found


def goodput(seen: Observed) -> float:
    """Zhong et al., DistServe (OSDI 2024): requests per second that meet every limit."""
    return int(good(seen).sum()) / seen.whole.seconds


def good_request_fraction(seen: Observed) -> float:
    """DistServe's SLO attainment, over all attempted requests."""
    if not len(seen.columns):
        raise NotDefined("no request was issued")
    return int(good(seen).sum()) / len(seen.columns)


def failed_requests(seen: Observed) -> float:
    """A count; the types are `records.ERROR_TYPES`."""
    return int(seen.columns.failed.sum())


def error_rate(seen: Observed) -> float:
    """Share of failed requests among those that ended. Interrupted requests are excluded."""
    failed = int(seen.columns.failed.sum())
    ended = failed + int(seen.succeeded.sum())
    if not ended:
        raise NotDefined("no request ended")
    return failed / ended


def resent_requests(seen: Observed) -> float:
    """A count of requests that were sent twice (`records.RequestRecord.resent`)."""
    return int(seen.columns.resent.sum())


def empty_outputs(seen: Observed) -> float:
    """A count of succeeded requests without output."""
    return int((seen.succeeded & seen.columns.empty).sum())


def server_cached_token_share(seen: Observed) -> float:
    """Defined here: `server_cached_tokens` as a share of `server_input_tokens`."""
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
    """The same, weighted with the requested length of each video."""
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
