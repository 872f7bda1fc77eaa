"""How each API writes a request and reads a response."""

import base64
import contextlib
import importlib
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_bench.api import BUILTIN, Generation, Malformed
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.api.openai_completions import OpenAICompletions
from pytest_bench.api.sglang import SGLang
from pytest_bench.api.videos import DEFAULTS, Videos
from pytest_bench.errors import UsageError
from pytest_bench.records import Usage

GENERATION = Generation(model="m", parameters={"max_tokens": 64, "temperature": 0})
WHOLE = Generation(model="m", stream=False)
MP4 = b"\x00\x00\x00\x18ftypisom and more"
JSON = "application/json"


def events(*chunks):
    return msgspec.json.encode(list(chunks))


def asked(api, row, generation=GENERATION):
    return msgspec.json.decode(api.encode(row, generation))


def chat(delta=None, *, finish=None, usage=None, **more):
    chunk = {"id": "1", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish, **more}]}
    return chunk if usage is None else {**chunk, "usage": {"prompt_tokens": 3, "completion_tokens": usage}}


def piece(text, *, finish=None, **more):
    return {"choices": [{"index": 0, "text": text, "finish_reason": finish}], **more}


def generated(text, total, *, finish=None, **more):
    meta = {
        "id": "1",
        "finish_reason": finish,
        "prompt_tokens": 5,
        "completion_tokens": total,
        "cached_tokens": 2,
    }
    return {"text": text, "meta_info": meta, **more}


def tool(name=None, arguments=None):
    return {"tool_calls": [{"index": 0, "function": {"name": name, "arguments": arguments}}]}


@pytest.mark.parametrize("name", BUILTIN)
def test_each_shipped_api_is_where_it_is_said_to_be_and_describes_itself(name):
    module, _, attribute = BUILTIN[name].partition(":")
    api = getattr(importlib.import_module(module), attribute)
    assert api.name == name
    assert api.path.startswith("/")
    assert api.required <= set(api.columns)


# Requests.


def test_a_chat_prompt_becomes_one_user_message():
    assert asked(OpenAIChat, {"prompt": "hi"}) == {
        "model": "m",
        "max_tokens": 64,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_a_chat_request_without_a_stream_has_no_stream_options():
    assert asked(OpenAIChat, {"prompt": "hi"}, WHOLE) == {
        "model": "m",
        "stream": False,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_messages_are_sent_as_they_are_behind_the_system_column():
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "tool_calls": []}]
    body = asked(OpenAIChat, {"messages": messages, "system": "be brief"})
    assert body["messages"] == [{"role": "system", "content": "be brief"}, *messages]


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions])
def test_a_row_sets_its_own_limit(api):
    assert asked(api, {"prompt": "hi", "max_tokens": 7})["max_tokens"] == 7


def test_a_row_sets_the_limit_under_the_name_that_the_suite_uses():
    body = asked(
        OpenAIChat,
        {"prompt": "hi", "max_tokens": 7},
        Generation(model="m", parameters={"max_completion_tokens": 64}),
    )
    assert (body["max_completion_tokens"], "max_tokens" in body) == (7, False)


def test_what_a_suite_says_of_stream_options_is_kept():
    parameters = {"stream_options": {"continuous_usage_stats": True}}
    body = asked(OpenAICompletions, {"prompt": "hi"}, Generation(model="m", parameters=parameters))
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions])
def test_stream_options_of_null_are_left_out(api):
    generation = Generation(model="m", parameters={"stream_options": None})
    assert "stream_options" not in asked(api, {"prompt": "hi"}, generation)


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions])
def test_a_request_without_a_stream_never_has_stream_options(api):
    generation = Generation(model="m", stream=False, parameters={"stream_options": {"include_usage": True}})
    assert "stream_options" not in asked(api, {"prompt": "hi"}, generation)


@pytest.mark.parametrize(
    ("api", "name"),
    [(OpenAIChat, "stream_options"), (OpenAICompletions, "stream_options"), (SGLang, "sampling_params")],
)
@pytest.mark.parametrize("value", ["x", 5, [1], True])
def test_a_parameter_that_must_be_a_mapping_is_refused_as_anything_else(api, name, value):
    with pytest.raises(UsageError, match=f"extra_body.{name} is .* expected a mapping"):
        api.encode({"prompt": "hi"}, Generation(model="m", parameters={name: value}))


def test_sampling_params_of_null_add_nothing():
    generation = Generation(model="m", parameters={"sampling_params": None, "top_k": 5})
    assert asked(SGLang, {"prompt": "hi"}, generation)["sampling_params"] == {"top_k": 5}


def test_a_completion_takes_text_or_token_ids():
    assert asked(OpenAICompletions, {"prompt": "hi"})["prompt"] == "hi"
    assert asked(OpenAICompletions, {"prompt": [1, 2]})["prompt"] == [1, 2]


@pytest.mark.parametrize(
    ("row", "sent"),
    [
        ({"text": "hi"}, {"text": "hi"}),
        ({"prompt": "hi"}, {"text": "hi"}),
        ({"input_ids": [1, 2]}, {"input_ids": [1, 2]}),
    ],
)
def test_generate_puts_parameters_into_sampling_params(row, sent):
    assert asked(SGLang, row) == {
        **sent,
        "stream": True,
        "sampling_params": {"max_new_tokens": 64, "temperature": 0},
    }


def test_generate_keeps_the_parameters_of_the_request_beside_them():
    generation = Generation(
        model="m", parameters={"return_logprob": True, "sampling_params": {"top_k": 5}, "ignore_eos": True}
    )
    body = asked(SGLang, {"text": "hi", "max_tokens": 3}, generation)
    assert body["return_logprob"] is True
    assert body["sampling_params"] == {"top_k": 5, "ignore_eos": True, "max_new_tokens": 3}


def test_a_video_request_has_all_fields_but_nulls():
    body = asked(Videos, {"prompt": "a cat"}, WHOLE)
    assert body == {
        "prompt": "a cat",
        **{name: value for name, value in DEFAULTS.items() if value is not None},
    }
    assert body["size"] == "720x1280"
    assert "negative_prompt" not in body
    assert "latent_path" not in body


def test_a_row_of_videos_counts_before_the_suite_and_the_suite_before_defaults():
    generation = Generation(model="m", stream=False, parameters={"fps": 24, "seed": 1})
    body = asked(Videos, {"prompt": "a cat", "seed": 2, "negative_prompt": "dogs"}, generation)
    assert (body["fps"], body["seed"], body["negative_prompt"]) == (24, 2, "dogs")


@pytest.mark.parametrize(
    ("api", "row", "message"),
    [
        (OpenAIChat, {}, "neither"),
        (OpenAIChat, {"prompt": "a", "messages": [{"role": "user"}]}, "both"),
        (OpenAIChat, {"prompt": 5}, "prompt holds int"),
        (OpenAIChat, {"messages": []}, "at least one"),
        (OpenAIChat, {"messages": [{"content": "a"}]}, "entry 0"),
        (OpenAIChat, {"messages": [{"role": "system", "content": "a"}], "system": "b"}, "keep one"),
        (OpenAIChat, {"prompt": "a", "system": 1}, "system holds int"),
        (OpenAIChat, {"prompt": "a", "max_tokens": 0}, "max_tokens is 0"),
        (OpenAIChat, {"prompt": "a", "max_tokens": True}, "max_tokens is True"),
        (OpenAICompletions, {}, "needs a prompt"),
        (OpenAICompletions, {"prompt": ["a"]}, "prompt holds list"),
        (OpenAICompletions, {"prompt": []}, "prompt holds list"),
        (SGLang, {}, "neither"),
        (SGLang, {"text": "a", "input_ids": [1]}, "text and input_ids"),
        (SGLang, {"input_ids": [1, "a"]}, "input_ids"),
        (SGLang, {"text": 1}, "text holds int"),
        (Videos, {"negative_prompt": "a"}, "prompt holds NoneType"),
        (Videos, {"prompt": "a", "response_format": "gif"}, "'gif'"),
    ],
)
def test_a_row_that_cannot_be_expressed_is_refused(api, row, message):
    with pytest.raises(UsageError, match=message):
        api.encode(row, GENERATION)


# Chat streams.


def test_a_role_or_an_empty_delta_is_no_content():
    decoded = OpenAIChat.decode_stream(
        events(
            chat({"role": "assistant", "content": ""}),
            chat({"content": "a"}),
            chat({"content": None}),
            chat(),
        )
    )
    assert (decoded.content, decoded.content_events, decoded.event_count) == ("a", [1], 4)


def test_reasoning_comes_first_and_is_no_output():
    decoded = OpenAIChat.decode_stream(
        events(chat({"reasoning_content": "hm"}), chat({"reasoning": "mm"}), chat({"content": "yes"}))
    )
    assert (decoded.reasoning, decoded.content) == ("hmmm", "yes")
    assert decoded.content_events == [0, 1, 2]
    assert decoded.first_output_event == 2
    assert decoded.first_event_text == "hm"


def test_an_answer_that_is_all_reasoning_has_no_output_event():
    decoded = OpenAIChat.decode_stream(events(chat({"reasoning_content": "hm"})))
    assert (decoded.first_output_event, decoded.content_events) == (None, [0])


def test_tool_calls_are_output():
    decoded = OpenAIChat.decode_stream(
        events(
            chat(tool("add")),
            chat(tool(arguments='{"a":')),
            chat(tool(arguments="1}")),
            chat(finish="tool_calls"),
        )
    )
    assert decoded.tool_calls == 'add{"a":1}'
    assert decoded.content_events == [0, 1, 2]
    assert decoded.first_output_event == 0
    assert decoded.finish_reason == "tool_calls"


def test_usage_is_read_with_its_details():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 0},
    }
    decoded = OpenAIChat.decode_stream(events(chat({"content": "a"}), {"choices": [], "usage": usage}))
    assert decoded.usage == Usage(input_tokens=9, output_tokens=4, cached_tokens=8, reasoning_tokens=3)
    assert decoded.content_event_tokens == []


def test_what_the_server_does_not_tell_is_unknown():
    decoded = OpenAIChat.decode_stream(
        events({"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": None}})
    )
    assert decoded.usage == Usage(input_tokens=9)
    assert OpenAIChat.decode_stream(events(chat({"content": "a"}))).usage is None


def test_tokens_of_every_event_follow_from_running_totals():
    decoded = OpenAIChat.decode_stream(
        events(
            chat({"role": "assistant"}, usage=0),
            chat({"content": "a"}, usage=2),
            chat({"content": ""}, usage=3),
            chat({"content": "b"}, usage=4),
        )
    )
    assert decoded.content_event_tokens == [2, 2]


@pytest.mark.parametrize("totals", [(1, None, 3), (3, 2, 4)])
def test_tokens_of_events_are_unknown_where_one_total_is_missing_or_falls(totals):
    decoded = OpenAIChat.decode_stream(events(*(chat({"content": "a"}, usage=total) for total in totals)))
    assert decoded.content_event_tokens == []


def test_token_ids_are_collected():
    decoded = OpenAIChat.decode_stream(
        events(chat({"content": "a"}, token_ids=[1, 2]), chat({"content": "b"}, token_ids=[3]))
    )
    assert decoded.token_ids == [1, 2, 3]


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"error": {"message": "out of memory", "type": "server_error"}}, "server_error: out of memory"),
        ({"error": {"message": "out of memory", "code": 500}}, "500: out of memory"),
        ({"error": "out of memory"}, "out of memory"),
        ({"error": {"detail": 1}}, '{"detail":1}'),
        ({"object": "error", "message": "out of memory"}, "out of memory"),
    ],
)
def test_an_error_object_is_found_in_a_stream_and_in_a_body(api, error, told):
    assert api.decode_stream(events(error)).error == told
    assert api.decode_body(msgspec.json.encode(error), JSON).error == told


@given(st.lists(st.text(max_size=5), max_size=20))
def test_content_is_what_the_deltas_hold_and_events_are_those_that_hold_any(texts):
    for api, chunk in ((OpenAIChat, lambda text: chat({"content": text})), (OpenAICompletions, piece)):
        decoded = api.decode_stream(events(*map(chunk, texts)))
        assert decoded.content == "".join(texts)
        assert decoded.content_events == [number for number, text in enumerate(texts) if text]
        assert decoded.first_event_text == next(filter(None, texts), "")


# Other streams.


def test_a_completion_stream_is_read_with_reason_usage_and_totals():
    usage = [{"prompt_tokens": 3, "completion_tokens": total} for total in (1, 3)]
    decoded = OpenAICompletions.decode_stream(
        events(piece("a", usage=usage[0]), piece("b", finish="stop", usage=usage[1]), {"choices": []})
    )
    assert (decoded.content, decoded.finish_reason, decoded.content_events) == ("ab", "stop", [0, 1])
    assert decoded.content_event_tokens == [1, 2]
    assert decoded.usage == Usage(input_tokens=3, output_tokens=3)


def test_generate_reads_a_stream_of_the_text_so_far():
    decoded = SGLang.decode_stream(
        events(
            generated("", 0),
            generated("a", 1),
            generated("ab", 3),
            generated("ab", 4),
            generated("abc", 5, finish={"type": "length", "length": 5}),
        )
    )
    assert (decoded.content, decoded.content_events, decoded.first_event_text) == ("abc", [1, 2, 4], "a")
    assert decoded.content_event_tokens == [1, 2, 2]
    assert decoded.finish_reason == "length"
    assert decoded.usage == Usage(input_tokens=5, output_tokens=5, cached_tokens=2)


def test_generate_reads_a_stream_of_deltas():
    decoded = SGLang.decode_stream(
        events(generated("a", 1), generated("b", 2), generated("", 2, finish="stop"))
    )
    assert (decoded.content, decoded.content_event_tokens, decoded.finish_reason) == ("ab", [1, 1], "stop")


@given(st.lists(st.sampled_from(["a", "b", " c"]), min_size=1, max_size=12))
def test_generate_reads_the_same_text_from_either_kind_of_stream(texts):
    so_far = [generated("".join(texts[: end + 1]), end + 1) for end in range(len(texts))]
    assert SGLang.decode_stream(events(*so_far)).content == "".join(texts)


@pytest.mark.parametrize("ids", [([1], [1, 2], [1, 2, 3]), ([1], [2], [3])])
def test_generate_reads_token_ids_from_either_kind_of_stream(ids):
    answers = [generated("a" * total, total, output_ids=part) for total, part in enumerate(ids, 1)]
    assert SGLang.decode_stream(events(*answers)).token_ids == [1, 2, 3]


def test_generate_reads_token_ids_where_the_server_counts_nothing():
    answers = [{"text": "a", "output_ids": [1]}, {"text": "ab", "output_ids": [1, 2]}]
    assert SGLang.decode_stream(events(*answers)).token_ids == [1, 2]


def test_an_abort_is_an_error():
    aborted = generated("a", 1, finish={"type": "abort", "message": "out of memory"})
    assert SGLang.decode_stream(events(aborted)).error == "abort: out of memory"
    assert SGLang.decode_body(msgspec.json.encode(aborted), JSON).error == "abort: out of memory"


def test_an_error_at_the_end_of_a_stream_keeps_what_came_before():
    decoded = SGLang.decode_stream(
        events(generated("a", 1), generated("ab", 2), {"error": {"message": "out of memory"}})
    )
    assert (decoded.content, decoded.error) == ("ab", "out of memory")


# Bodies.


def test_a_chat_body_is_read_with_reasoning_and_tools():
    message = {"role": "assistant", "content": None, "reasoning": "hm", **tool("add", "{}")}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls", "token_ids": [4]}]}
    decoded = OpenAIChat.decode_body(msgspec.json.encode(body), JSON)
    assert (decoded.content, decoded.reasoning, decoded.tool_calls) == ("", "hm", "add{}")
    assert (decoded.finish_reason, decoded.token_ids, decoded.content_events) == ("tool_calls", [4], [])


def test_a_completion_body_is_read():
    decoded = OpenAICompletions.decode_body(
        msgspec.json.encode(piece("ab", finish="length", usage={"completion_tokens": 2})), JSON
    )
    assert (decoded.content, decoded.finish_reason) == ("ab", "length")
    assert decoded.usage == Usage(output_tokens=2)


def test_a_generate_body_is_read():
    decoded = SGLang.decode_body(
        msgspec.json.encode(generated("ab", 2, finish="stop", output_ids=[1, 2])), JSON
    )
    assert (decoded.content, decoded.finish_reason, decoded.token_ids) == ("ab", "stop", [1, 2])


def test_a_video_is_its_path_or_the_digest_of_its_bytes():
    path = Videos.decode_body(b'{"video_id": "v", "video_path": "/tmp/v.mp4"}', JSON)
    assert (path.content, path.attachment) == ("/tmp/v.mp4", None)
    encoded = msgspec.json.encode({"video_id": "v", "video_bytes": base64.b64encode(MP4).decode()})
    for body, kind in ((encoded, JSON), (MP4, "video/mp4")):
        decoded = Videos.decode_body(body, kind)
        assert (decoded.content, decoded.attachment) == (sha256(MP4).hexdigest(), MP4)


def test_an_empty_video_is_empty_output():
    decoded = Videos.decode_body(b'{"video_id": "v", "video_bytes": ""}', JSON)
    assert (decoded.content, decoded.attachment) == ("", None)


@pytest.mark.parametrize("told", [{"inference_time_s": 1.5}, {"timings": {"inference": 1.5}}])
def test_the_server_s_own_time_of_a_video_is_kept(told):
    assert Videos.decode_body(msgspec.json.encode({"video_path": "p", **told}), JSON).server_time_s == 1.5


def test_a_job_that_runs_yet_says_where_to_ask_again():
    assert Videos.pending(b'{"id": "a/b", "status": "in_progress"}') == "/v1/videos/a%2Fb"
    assert Videos.pending(b'{"id": "a", "status": "completed", "video_path": "p"}') is None
    assert Videos.pending(b'{"video_path": "p"}') is None
    assert Videos.pending(MP4) is None
    with pytest.raises(Malformed, match="no id"):
        Videos.pending(b'{"status": "queued"}')


def test_a_job_that_failed_is_an_error():
    assert (
        Videos.decode_body(b'{"id": "a", "status": "failed"}', JSON).error
        == "the job has the status 'failed'"
    )
    told = Videos.decode_body(b'{"id": "a", "status": "failed", "error": {"message": "no memory"}}', JSON)
    assert told.error == "no memory"


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (OpenAIChat, b"{}"),
        (OpenAIChat, b"[]"),
        (OpenAIChat, b'{"choices": [{"message": {"content": 5}}]}'),
        (OpenAICompletions, b"{}"),
        (OpenAICompletions, b"<html>"),
        (SGLang, b"{}"),
        (SGLang, b'{"text": "a", "output_ids": ["a"]}'),
        (SGLang, b'{"text": "a"'),
        (Videos, b"{}"),
        (Videos, b'{"video_bytes": "%%%"}'),
        (Videos, b"not json"),
    ],
)
def test_a_body_that_is_not_what_the_api_promises_is_malformed(api, body):
    with pytest.raises(Malformed):
        api.decode_body(body, JSON)


@pytest.mark.parametrize("api", [OpenAIChat, OpenAICompletions, SGLang, Videos])
@pytest.mark.parametrize(
    "stream", [b"[{}", b"[5]", b"{}", b'[{"choices": 1, "text": 1}]', b'["\xff"]', b"[" * 2000]
)
def test_a_stream_that_is_not_what_the_api_promises_is_malformed(api, stream):
    with pytest.raises(Malformed):
        api.decode_stream(stream)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_but_malformed(data):
    for api in (OpenAIChat, OpenAICompletions, SGLang, Videos):
        for read in (api.decode_stream, lambda body, api=api: api.decode_body(body, JSON)):
            with contextlib.suppress(Malformed):
                read(data)
