"""The simulator and the client's APIs, written apart, understand each other."""

import pytest
from wire_client import payloads

from pytest_bench.api import Generation
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.api.openai_completions import OpenAICompletions
from pytest_bench.api.sglang import SGLang
from pytest_bench.api.videos import Videos


def ask(client, api, row, *, stream, **headers):
    generation = Generation(
        model="simulated", stream=stream, parameters={"max_tokens": 6} if api != Videos else {}
    )
    headers = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    answer = client.http.post(api.path, content=api.encode(row, generation), headers=headers)
    assert answer.status_code == 200
    if not stream:
        return api.decode_body(answer.content, answer.headers["content-type"])
    events = [data for data in payloads(answer.content) if data != b"[DONE]"]
    return api.decode_stream(b"[" + b",".join(events) + b"]")


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions, SGLang])
def test_a_stream_and_a_body_decode_to_the_same_output(client, api):
    whole, streamed = (ask(client, api, {"prompt": "hello there"}, stream=stream) for stream in (False, True))
    assert whole.content == streamed.content
    assert len(whole.content.split()) == 6
    assert whole.finish_reason == streamed.finish_reason == "length"
    assert whole.usage == streamed.usage
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (2, 6)
    assert whole.error is None
    assert len(streamed.content_events) == 6


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions])
def test_totals_in_every_chunk_give_the_tokens_of_each_event(client, api):
    knobs = {"x_sim_usage": "every_chunk", "x_sim_tokens_per_event": 4}
    assert ask(client, api, {"prompt": "hello"}, stream=True, **knobs).content_event_tokens == [4, 2]


def test_generate_reports_the_tokens_of_each_event_in_both_kinds_of_stream(client):
    for incremental in ("true", "false"):
        knobs = {"x_sim_incremental": incremental, "x_sim_tokens_per_event": 4}
        decoded = ask(client, SGLang, {"text": "hello"}, stream=True, **knobs)
        assert decoded.content_event_tokens == [4, 2]
        assert len(decoded.token_ids) == 6


def test_reasoning_is_distinguished_from_output(client):
    decoded = ask(client, OpenAIChat, {"prompt": "hello"}, stream=True, x_sim_reasoning_tokens=2)
    assert (len(decoded.reasoning.split()), len(decoded.content.split())) == (2, 4)
    assert decoded.first_output_event == decoded.content_events[2]
    assert decoded.usage.reasoning_tokens == 2


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions, SGLang])
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_object_is_understood(client, api, stream):
    decoded = ask(client, api, {"prompt": "hello"}, stream=stream, x_sim_fault="stream_error")
    assert decoded.error == "server_error: injected fault: stream_error"


@pytest.mark.parametrize("row", [{"prompt": "a"}, {"prompt": "a", "response_format": "video_bytes"}])
def test_a_video_is_understood(client, row):
    decoded = ask(client, Videos, row, stream=False, x_sim_video_ms=10)
    assert decoded.content
    assert decoded.server_time_s == pytest.approx(0.01)


def test_a_job_is_followed_to_its_video(client):
    body = Videos.encode({"prompt": "a"}, Generation(model="simulated", stream=False))
    answer = client.http.post(Videos.path, content=body, headers={"x-sim-video-reply": "job"}).content
    while (path := Videos.pending(answer)) is not None:
        answer = client.http.get(path).content
    assert Videos.decode_body(answer, "application/json").content.startswith("/videos/")
