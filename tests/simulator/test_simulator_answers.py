"""Answers from a file: which one a prompt gets, how it arrives, and how often it was asked for."""

import json
from pathlib import Path

import httpx
import msgspec
import pytest
from wire_client import chunks, encode, until

from pytest_bench.errors import EndpointError, UsageError
from pytest_bench.simulator import Answers
from pytest_bench.simulator.output import Asked

DATA = Path(__file__).parents[2] / "suites" / "data"

SUM = {"item": "sum", "prompt": "What is 2 + 2?", "content": "Let me think.\n2 + 2 = 4\n#### 4"}
ROWS = [
    SUM,
    {"prompt": "2 + 2?", "content": "no"},
    {"prompt": "empty?", "content": ""},
    {"prompt": "null?", "content": None, "reasoning": "Hm, 2 + 2", "finish_reason": "length"},
    {"prompt": "only thoughts?", "content": "", "reasoning": "It is 4."},
    {"prompt": "both?", "content": "#### 4", "reasoning": "2 + 2. Question: why?"},
    {"prompt": "refused?", "content": "No.", "finish_reason": "content_filter"},
    {"prompt": "down twice?", "content": "up", "fault": "http_503", "fault_requests": 2},
    {"prompt": "hangs?", "fault": "stall"},
]


def write(path, *rows):
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("answers") / "answers.jsonl", *ROWS)


@pytest.fixture
def answering(simulate, file):
    return simulate(answers=str(file))


def chat(client, prompt, **body):
    """Message and finish reason of a chat answered in one piece."""
    asked = {"model": "simulated", "messages": [{"role": "user", "content": prompt}], **body}
    (choice,) = client.http.post("/v1/chat/completions", json=asked).raise_for_status().json()["choices"]
    return choice["message"], choice["finish_reason"]


def streamed(client, prompt, **body):
    """Content deltas, reasoning and finish reason of a streamed chat."""
    deltas = [choice for chunk in chunks(client.chat(prompt, body=body).body) for choice in chunk["choices"]]
    content = [choice["delta"]["content"] for choice in deltas if "content" in choice["delta"]]
    reasoning = "".join(choice["delta"].get("reasoning_content", "") for choice in deltas)
    return content, reasoning, deltas[-1]["finish_reason"]


def complete(client, prompt, **body):
    asked = {"model": "simulated", "prompt": prompt, **body}
    (choice,) = client.http.post("/v1/completions", json=asked).raise_for_status().json()["choices"]
    return choice["text"], choice["finish_reason"]


@pytest.mark.parametrize(
    "prompt",
    [
        "What is 2 + 2?",
        "Question: What is 1 + 1?\nAnswer: 2\n\nQuestion: What is 2 + 2?\nAnswer:",
        "null? empty? What is 2 + 2?",
    ],
)
def test_a_prompt_gets_the_answer_to_its_last_known_question_word_by_word(answering, prompt):
    assert complete(answering, prompt) == (SUM["content"], "stop")
    assert "".join(streamed(answering, prompt, max_tokens=100)[0]) == SUM["content"]


def test_the_last_message_of_a_conversation_is_the_question(answering):
    messages = [{"role": "user", "content": "empty?"}, {"role": "user", "content": "What is 2 + 2?"}]
    assert chat(answering, "", messages=messages)[0]["content"] == SUM["content"]


def test_an_answer_is_cut_at_the_requested_limit(answering):
    assert chat(answering, "What is 2 + 2?", max_tokens=2) == (
        {"role": "assistant", "content": "Let me"},
        "length",
    )
    assert complete(answering, "What is 2 + 2?", stop=["####", "= 4"]) == ("Let me think.\n2 + 2 ", "stop")
    generated = answering.http.post(
        "/generate", json={"text": "What is 2 + 2?", "sampling_params": {"stop": "\n"}}
    ).json()
    assert (generated["text"], generated["meta_info"]["finish_reason"]) == ("Let me think.", {"type": "stop"})


def test_a_prompt_without_an_answer_is_refused(answering):
    asked = {"model": "simulated", "prompt": "What is 3 + 3?", "stream": True}
    refused = answering.http.post("/v1/completions", json=asked, headers={"x-request-id": "r1"})
    assert refused.status_code == 422
    assert "answers.jsonl has no answer to this prompt, which ends in 'What is 3 + 3?'" in refused.text
    assert answering.http.get("/received").json() == {"items": [], "unanswered": ["r1"]}


def test_only_a_check_of_readiness_gets_an_invented_word(answering):
    assert complete(answering, "Hello", max_tokens=1)[1] == "length"
    asked = {"model": "simulated", "prompt": "Hello", "max_tokens": 2}
    assert answering.http.post("/v1/completions", json=asked).status_code == 422


def test_content_may_be_empty_or_null_or_refused(answering):
    assert chat(answering, "empty?") == ({"role": "assistant", "content": ""}, "stop")
    assert streamed(answering, "empty?") == ([""], "", "stop")
    assert chat(answering, "refused?") == ({"role": "assistant", "content": "No."}, "content_filter")
    message, finish = chat(answering, "null?")
    assert message == {"role": "assistant", "content": None, "reasoning_content": "Hm, 2 + 2"}
    assert finish == "length"
    assert streamed(answering, "null?", max_tokens=100) == ([None], "Hm, 2 + 2", "length")


def test_reasoning_is_a_separate_field_in_chats_and_tagged_elsewhere(answering):
    assert streamed(answering, "only thoughts?", max_tokens=100) == ([""], "It is 4.", "stop")
    assert complete(answering, "only thoughts?") == ("<think>It is 4.</think>", "stop")
    assert complete(answering, "null?") == ("<think>Hm, 2 + 2", "length")
    message, _ = chat(answering, "both?")
    assert (message["reasoning_content"], message["content"]) == ("2 + 2. Question: why?", "#### 4")


def test_a_stop_string_or_the_limit_may_end_the_answer_inside_its_reasoning(answering):
    thoughts = {"role": "assistant", "content": None, "reasoning_content": "2 + 2. "}
    assert chat(answering, "both?", stop=["Question:"]) == (thoughts, "stop")
    assert complete(answering, "both?", stop="Question:") == ("<think>2 + 2. ", "stop")
    message, finish = chat(answering, "both?", max_tokens=2)
    assert (message["content"], message["reasoning_content"], finish) == (None, "2 +", "length")


def test_an_item_fails_the_configured_number_of_times(answering, truth_of):
    statuses = []
    for number in range(4):
        asked = {"model": "simulated", "prompt": "down twice?"}
        statuses.append(
            answering.http.post(
                "/v1/completions", json=asked, headers={"x-request-id": f"r{number}"}
            ).status_code
        )
    assert statuses == [503, 503, 200, 200]
    until(lambda: answering.http.get("/received").json()["items"][0]["completed"] == 2)
    (item,) = answering.http.get("/received").json()["items"]
    assert (item["item"], item["received"]) == ("down twice?", 4)
    assert item["request_ids"] == ["r0", "r1", "r2", "r3"]
    records = truth_of(answering).records
    assert [(record.item, record.fault) for record in records] == [
        ("down twice?", fault) for fault in ("http_503", "http_503", None, None)
    ]


def test_an_item_that_hangs_does_not_delay_others_and_is_counted_as_received_only(answering):
    with answering.connect() as hanging:
        asked = {"model": "simulated", "prompt": "hangs?", "stream": True}
        hanging.sendall(encode("/v1/completions", asked, x_request_id="h"))
        assert b"200 OK" in hanging.recv(4096)
        assert complete(answering, "What is 2 + 2?")[0] == SUM["content"]
    until(lambda: answering.metrics()["simulator_requests_ended_total"] == 2)
    items = {item["item"]: item for item in answering.http.get("/received").json()["items"]}
    assert items["hangs?"] == {"item": "hangs?", "received": 1, "completed": 0, "request_ids": ["h"]}
    assert items["sum"]["completed"] == 1


def test_without_a_file_nothing_is_counted(client):
    assert client.http.get("/received").status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"prompt": "a"}', "`content` is missing"),
        ('{"prompt": "a", "answer": "b"}', "unknown field `answer`"),
        ('{"prompt": " ", "content": "b"}', "`prompt` is blank"),
        ('{"prompt": "a", "prompt": "b", "content": ""}', "duplicate key 'prompt'"),
        ('{"prompt": "a", "content": 3}', "`$.content`"),
        ('{"prompt": "a", "content": "", "finish_reason": "lenght"}', "Invalid enum value 'lenght'"),
        ('{"prompt": "a", "fault": "stal"}', "unknown fault 'stal'; did you mean 'stall'?"),
        (
            '{"prompt": "a", "content": "", "fault_requests": 2}',
            "`fault_requests` counts requests under a `fault`",
        ),
        ('{"prompt": "a", "fault": "stall", "fault_requests": 2}', "`content` is missing"),
        ('{"prompt": "x", "content": ""}', "'x' has an answer already"),
        ("[]", "Expected `object`"),
        ("{", "answers.jsonl:2"),
        ('"\xff"', "answers.jsonl:2"),
    ],
)
def test_a_line_that_is_not_an_answer_is_named(tmp_path, line, complaint):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"prompt": "x", "content": "y"}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(UsageError, match=r"answers\.jsonl:2") as caught:
        Answers(path)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(("content", "complaint"), [(b"\n", "holds no answers"), (None, "No such file")])
def test_a_file_without_answers_is_refused(simulate, tmp_path, content, complaint):
    path = tmp_path / "answers.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EndpointError, match=complaint):
        simulate(answers=str(path))


def test_the_shipped_answers_are_read():
    answers = Answers(DATA / "arithmetic-stories-answers.jsonl")
    question = json.loads((DATA / "arithmetic-stories.jsonl").read_text().splitlines()[0])["question"]
    found = answers.find(Asked(prompt=f"Question: {question}\nAnswer:", prompt_tokens=1))
    assert found.name == "story-008"
