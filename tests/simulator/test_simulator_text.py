"""Chat, completions and /generate as they are on the wire."""

from itertools import pairwise

import msgspec
import pytest
from wire_client import chunks, encode, payloads, text

CONTENT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": [{"type": "text", "text": "hello"}]},
]


def complete(client, **body):
    asked = {"model": "simulated", "prompt": "hello", "max_tokens": 4, **body}
    return client.raw(encode("/v1/completions", asked, connection="close"))


def generate(client, body=None, **headers):
    asked = {"text": "hello", "sampling_params": {"max_new_tokens": 4}, **(body or {})}
    return client.raw(encode("/generate", asked, connection="close", **headers))


def test_a_chat_stream_opens_with_a_role_and_ends_with_its_reason_and_done(client):
    answer = client.chat()
    events = payloads(answer.body)
    choices = [chunk["choices"][0] for chunk in chunks(answer.body)]
    assert b"content-type: text/event-stream" in answer.head
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert all(choice["delta"]["content"] for choice in choices[1:-1])
    assert [choice["finish_reason"] for choice in choices] == [None] * 5 + ["length"]
    assert events[-1] == b"[DONE]"


def test_the_role_chunk_can_be_left_out(client):
    first = chunks(client.chat(x_sim_role_first="false").body)[0]
    assert first["choices"][0]["delta"]["content"]


def test_an_unstreamed_chat_answer_equals_the_stream(client):
    answer = client.chat(stream=False)
    whole = msgspec.json.decode(answer.body)
    assert whole["choices"][0]["message"]["content"] == text(client.chat().body)
    assert whole["choices"][0]["finish_reason"] == "length"
    assert whole["usage"]["completion_tokens"] == 4
    assert whole["object"] == "chat.completion"


def test_equal_prompts_get_equal_answers_and_different_prompts_different_ones(client):
    assert text(client.chat("one").body) == text(client.chat("one").body)
    assert text(client.chat("one").body) != text(client.chat("two").body)


def test_messages_of_several_parts_are_understood(client):
    answer = client.chat(body={"messages": CONTENT}, stream=False)
    assert msgspec.json.decode(answer.body)["usage"]["prompt_tokens"] == 3


def test_max_completion_tokens_takes_precedence_over_max_tokens(client):
    answer = client.chat(stream=False, body={"max_completion_tokens": 2, "max_tokens": 9})
    assert msgspec.json.decode(answer.body)["usage"]["completion_tokens"] == 2


def test_usage_ends_a_stream_only_if_requested(client):
    assert all("usage" not in chunk for chunk in chunks(client.chat().body))
    last = chunks(client.chat(body={"stream_options": {"include_usage": True}}).body)[-1]
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (1, 4)


def test_usage_with_every_chunk_counts_the_tokens_so_far(client):
    asked = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    told = [chunk["usage"]["completion_tokens"] for chunk in chunks(client.chat(body=asked).body)]
    assert told == [0, 1, 2, 3, 4, 4, 4]


@pytest.mark.parametrize(("usage", "told"), [("never", 0), ("final", 1), ("every_chunk", 7)])
def test_the_server_can_report_usage_regardless_of_the_request(client, usage, told):
    body = {"stream_options": {"include_usage": True}}
    assert sum("usage" in chunk for chunk in chunks(client.chat(body=body, x_sim_usage=usage).body)) == told


def test_a_server_without_usage_reports_none_in_a_body_either(client):
    assert "usage" not in msgspec.json.decode(client.chat(stream=False, x_sim_usage="never").body)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_the_first_tokens_can_be_reasoning(client, field):
    knobs = {"x_sim_reasoning_tokens": 3, "x_sim_reasoning_field": field, "x_sim_tokens_per_event": 2}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(client.chat(**knobs).body)]
    assert [sorted(delta) for delta in deltas] == [["content", "role"], [field], [field], ["content"], []]
    message = msgspec.json.decode(client.chat(stream=False, **knobs).body)
    assert message["choices"][0]["message"][field] == "".join(delta.get(field, "") for delta in deltas)
    assert message["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}


def test_tokens_are_divided_among_events_as_configured(client):
    contents = [
        chunk["choices"][0]["delta"].get("content")
        for chunk in chunks(client.chat(x_sim_tokens_per_event=3).body)
    ]
    assert [len(content.split()) for content in contents if content] == [3, 1]


def test_token_ids_are_sent_if_requested(client):
    streamed = chunks(client.chat(body={"return_token_ids": True}).body)
    ids = [token for chunk in streamed for token in chunk["choices"][0].get("token_ids", [])]
    whole = msgspec.json.decode(client.chat(stream=False, body={"return_token_ids": True}).body)
    assert whole["choices"][0]["token_ids"] == ids
    assert len(ids) == 4


def test_a_completion_stream_continues_the_text(client):
    *texts, last = [chunk["choices"][0] for chunk in chunks(complete(client, stream=True).body)]
    whole = msgspec.json.decode(complete(client).body)
    assert "".join(choice["text"] for choice in texts) == whole["choices"][0]["text"]
    assert last["finish_reason"] == "length"
    assert whole["object"] == "text_completion"


def test_a_completion_accepts_token_ids(client):
    assert msgspec.json.decode(complete(client, prompt=[5, 6, 7]).body)["usage"]["prompt_tokens"] == 3


def test_generate_streams_the_text_so_far(client):
    events = chunks(generate(client, {"stream": True}).body)
    texts = [event["text"] for event in events]
    assert [len(told.split()) for told in texts] == [1, 2, 3, 4]
    assert all(after.startswith(before) for before, after in pairwise(texts))
    assert [event["meta_info"]["completion_tokens"] for event in events] == [1, 2, 3, 4]
    assert events[-1]["meta_info"]["finish_reason"] == {"type": "length", "length": 4}
    assert len(events[-1]["output_ids"]) == 4


def test_generate_can_stream_increments(client):
    events = chunks(generate(client, {"stream": True}, x_sim_incremental="true").body)
    assert [len(event["text"].split()) for event in events] == [1, 1, 1, 1]


def test_generate_answers_in_one_piece(client):
    whole = msgspec.json.decode(generate(client).body)
    assert whole["text"] == chunks(generate(client, {"stream": True}).body)[-1]["text"]
    assert whole["meta_info"]["prompt_tokens"] == 1


def test_generate_accepts_token_ids(client):
    answer = generate(client, {"text": None, "input_ids": [1, 2, 3]})
    assert msgspec.json.decode(answer.body)["meta_info"]["prompt_tokens"] == 3


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", b"{"),
        ("/v1/chat/completions", b'{"model": "simulated"}'),
        ("/v1/chat/completions", b'{"model": "simulated", "messages": [], "max_tokens": "4"}'),
        ("/v1/completions", b'{"model": "simulated", "prompt": "x", "max_tokens": 0}'),
        ("/generate", b"{}"),
        ("/generate", b'{"text": "a", "input_ids": [1]}'),
        ("/v1/videos/generations", b'{"prompt": "a", "colour": "red"}'),
        ("/v1/videos/generations", b'{"size": "720x1280"}'),
    ],
)
def test_a_request_that_is_not_valid_is_answered_400(client, path, body):
    answer = client.http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_another_model_is_answered_404(client):
    answer = client.chat(body={"model": "gpt-9"})
    assert answer.status == 404
    assert msgspec.json.decode(answer.body)["error"]["code"] == "model_not_found"


def test_a_knob_that_does_not_exist_is_answered_400(client):
    answer = client.chat(x_sim_tfft_ms=5)
    assert answer.status == 400
    assert b"did you mean 'ttft_ms'" in answer.body


def test_output_has_the_configured_length_instead_of_the_requested_one(client):
    answer = client.chat(stream=False, body={"max_tokens": 50}, x_sim_output_tokens=7)
    whole = msgspec.json.decode(answer.body)
    assert whole["usage"]["completion_tokens"] == 7
    assert whole["choices"][0]["finish_reason"] == "stop"
