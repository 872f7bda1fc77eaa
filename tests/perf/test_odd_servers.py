"""What a point says of servers whose streams are odd, end to end on the simulator."""

import json

import pytest
from points_in_process import plan_of, session_of

from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.verdict.outcome import Outcome

SUITE = """
suite: s
deployment:
  api: {api}
  model: simulated
  endpoint: simulator
  generation: {{max_tokens: 16}}
  simulator: {{ttft_ms: 1, itl_ms: 1, {knobs}}}
datasets: {{prompts: {{path: prompts.jsonl}}}}
perf:
  p:
    dataset: prompts
    load: {{pattern: concurrency, concurrency: 1, requests: 16}}
    budget: {{vacancy: 1, schedule_lateness_ms: 60000, cpu_share: 1, achieved_share: 0.01}}
    bounds: {{{bounds}}}
"""


@pytest.fixture(scope="module")
def pool():
    with TokenizerPool(workers=1) as pool:
        yield pool


@pytest.fixture
def judged(tmp_path, pool):
    """Runs the point and returns its judgement and its measurement."""

    def run(knobs, bounds, *, api="openai-chat"):
        rows = "\n".join(json.dumps({"prompt": f"say {number}"}) for number in range(16))
        (tmp_path / "prompts.jsonl").write_text(rows)
        plan = plan_of(tmp_path, SUITE.format(api=api, knobs=knobs, bounds=bounds))
        with session_of(plan, tmp_path, pool) as session:
            summary = session.perf("p").summary
        return summary.judgement, summary.measurement

    return run


@pytest.mark.parametrize("metric", ["time_per_output_token", "inter_chunk_latency", "inter_token_latency"])
def test_no_bound_on_times_between_events_is_met_by_streams_that_came_at_once(judged, metric):
    judgement, measurement = judged("coalesce: 16, role_first: false", f'{metric}.p50: "<= 10s"')
    assert judgement.outcome is Outcome.ERROR
    assert "in 16 of 16 streams all content events have the same time stamp" in judgement.reasons[0].sentence
    assert measurement.value("time_to_first_token.p50") > 0


@pytest.mark.parametrize("api", ["openai-chat", "openai-completions", "sglang"])
def test_some_answers_without_output_fail_a_point_whose_own_bounds_are_met(judged, api):
    judgement, measurement = judged("fault: {empty: 0.5}", 'time_to_first_token.p99: "<= 10s"', api=api)
    empty = measurement.value("empty_outputs")
    assert 0 < empty < 16
    assert judgement.outcome is Outcome.FAIL
    assert [reason.sentence for reason in judgement.reasons] == [
        f"empty_outputs is {empty:.0f} requests, required == 0"
    ]


def test_answers_without_output_are_tolerated_if_the_point_says_so(judged):
    judgement, _ = judged("fault: {empty: 0.5}", 'empty_outputs: "<= 16"')
    assert judgement.outcome is Outcome.PASS


@pytest.mark.parametrize("api", ["openai-chat", "openai-completions", "sglang"])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("error_event", '16 x stream_error ("injected fault: error_event")'),
        ("error_field", '16 x stream_error ("server_error: injected fault: error_field")'),
    ],
)
def test_errors_in_the_streams_of_a_server_fail_the_point_with_its_message(judged, api, fault, words):
    judgement, measurement = judged(f"fault: {{{fault}: 1}}", 'error_rate: "<= 50%"', api=api)
    assert judgement.outcome is not Outcome.PASS
    assert measurement.failed == 16
    assert any(words in reason.sentence for reason in judgement.reasons)
