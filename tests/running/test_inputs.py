"""What a row sends, as the server's tokenizer sees it."""

import pytest

from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.api.openai_completions import OpenAICompletions
from pytest_bench.errors import TokensError
from pytest_bench.running.inputs import as_sent
from pytest_bench.tokens.chat import ChatTemplate

TEMPLATE = (
    "{% for tool in tools or [] %}<tool>{{ tool.name }}{% endfor %}"
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if thinking %}<think>{% endif %}{% endif %}"
)
PARTS = [{"type": "text", "text": "Hello"}, {"type": "image_url", "image_url": {"url": "data:"}}]


@pytest.fixture
def template():
    return ChatTemplate(TEMPLATE, {}, "model/chat_template.jinja")


def chat(content):
    return {"messages": [{"role": "user", "content": content}]}


def test_plain_prompts_and_token_ids_are_sent_unchanged(template):
    assert as_sent(OpenAICompletions, {"prompt": "Hi"}, template, {}) == "Hi"
    assert as_sent(OpenAICompletions, {"prompt": [1, 2]}, template, {}) == [1, 2]


def test_a_chat_goes_through_the_template_and_ends_in_the_generation_prompt(template):
    assert (
        as_sent(OpenAIChat, {"system": "S", "prompt": "Hi"}, template, {}) == "<system>S<user>Hi<assistant>"
    )


def test_the_template_gets_the_same_variables_as_on_the_server(template):
    parameters = {"tools": [{"name": "f"}], "chat_template_kwargs": {"thinking": True}, "temperature": 0}
    assert as_sent(OpenAIChat, chat("Hi"), template, parameters) == "<tool>f<user>Hi<assistant><think>"
    assert as_sent(OpenAIChat, chat("Hi"), template, {"add_generation_prompt": False}) == "<user>Hi"


def test_a_chat_without_a_template_is_the_texts_of_its_messages():
    assert as_sent(OpenAIChat, {"system": "S", "prompt": "Hi"}, None, {}) == "S\nHi"
    assert as_sent(OpenAIChat, chat(PARTS), None, {}) == "Hello"


def test_message_parts_that_the_template_would_render_as_a_python_list_are_refused(template):
    with pytest.raises(TokensError, match="messages of plain text"):
        as_sent(OpenAIChat, chat(PARTS), template, {})


def test_a_template_that_supports_parts_gets_them():
    source = "{% for part in messages[0].content %}{{ part.text or '<image>' }}{% endfor %}"
    assert as_sent(OpenAIChat, chat(PARTS), ChatTemplate(source, {}, "t"), {}) == "Hello<image>"
