"""The inputs that rows of a dataset send, as the server's tokenizer reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_bench.api import Api, Chat
from pytest_bench.errors import TokensError
from pytest_bench.tokens.chat import ChatTemplate
from pytest_bench.tokens.counting import Input

FOR_THE_TEMPLATE = ("tools", "add_generation_prompt")
"""Body fields that servers pass to the chat template unchanged."""


def as_sent(
    api: Api, row: Mapping[str, Any], template: ChatTemplate | None, parameters: Mapping[str, Any]
) -> Input:
    """The input of `row`: text or token ids unchanged, a chat rendered by the tokenizer's template.

    `parameters` are the body fields of every request; servers pass some of them to the template. Without a template,
    a chat is the texts of its messages. Raises `TokensError` for messages that the template does not accept.
    """
    prompt = api.prompt(row)
    if not isinstance(prompt, Chat):
        return prompt
    contents = [message.get("content") for message in prompt.messages]
    if template is None:
        return "\n".join(text for content in contents for text in _texts(content))
    named = {name: parameters[name] for name in FOR_THE_TEMPLATE if name in parameters}
    rendered = template.render(prompt.messages, **named, **parameters.get("chat_template_kwargs", {}))
    for content in contents:
        if isinstance(content, list) and str(content) in rendered:
            raise TokensError(
                "the chat template takes messages of plain text and one has a list of parts, which a server may put "
                f"together in its own way: give its text as one string, not {str(content)[:100]}"
            )
    return rendered


def _texts(content: object) -> Sequence[str]:
    """The text of a message, or those among its parts."""
    if isinstance(content, list):
        return [part["text"] for part in content if isinstance(part, dict) and "text" in part]
    return [content] if isinstance(content, str) else []
