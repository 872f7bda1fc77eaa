"""Chat templates, which render messages to the text that the server's tokenizer encodes.

Templates come with models and are not trusted, so they run in Jinja's immutable sandbox. The environment and the
available names follow `transformers.utils.chat_template_utils`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from pytest_bench.errors import TokensError
from pytest_bench.files import read_json

_DEFAULT = "default"
_SPECIAL_TOKENS = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
)  # fmt: skip


class ChatTemplate:
    """A compiled template. Rendering depends on its arguments only, and on the date if the template uses it."""

    def __init__(self, source: str, special_tokens: Mapping[str, str], origin: str) -> None:
        """Compile `source`. Errors name `origin`, the file. Raises `TokensError` if the syntax is invalid."""
        self._origin = origin
        self._special_tokens = dict(special_tokens)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TokensError(f"{origin}: the chat template is not valid: {error}") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """Render `messages` as text. With `add_generation_prompt`, it ends in the prompt that starts the model's turn.

        `variables` are further variables of the template, such as `enable_thinking`. Raises `TokensError` if the
        template rejects the messages or violates the sandbox.
        """
        try:
            return self._template.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._special_tokens,
                **variables,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, ArithmeticError) as error:
            raise TokensError(
                f"{self._origin}: the chat template does not take these messages: {error}"
            ) from error


def load_chat_template(folder: Path) -> ChatTemplate | None:
    """Load the chat template in the tokenizer folder `folder`; None if there is none.

    Of several templates, the one called `default` is loaded. Raises `TokensError` if the template cannot be read
    or compiled.
    """
    settings_file = folder / "tokenizer_config.json"
    settings = read_json(settings_file) if settings_file.is_file() else {}
    template_file = folder / "chat_template.jinja"
    special_tokens = {token: text for token in _SPECIAL_TOKENS if (text := _content(settings.get(token)))}
    if template_file.is_file():
        return ChatTemplate(template_file.read_text(encoding="utf-8"), special_tokens, str(template_file))
    declared = settings.get("chat_template")
    if declared is None:
        return None
    if isinstance(declared, list):
        named = {entry["name"]: entry["template"] for entry in declared}
        if _DEFAULT not in named:
            raise TokensError(
                f"{settings_file}: has no chat template {_DEFAULT!r}, only {', '.join(sorted(named))}"
            )
        declared = named[_DEFAULT]
    return ChatTemplate(declared, special_tokens, str(settings_file))


def _content(token: object) -> str | None:
    """Return the text of a special token, which is a string or an object with the text as `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _to_json(value: object, indent: int | None = None, *, ensure_ascii: bool = False) -> str:
    # Jinja's own filter escapes HTML characters. Models are not trained on that.
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().astimezone().strftime(layout)


class _Generation(jinja2.ext.Extension):
    """Render `{% generation %} … {% endgeneration %}`, which marks the assistant's text for training, as its body."""

    tags = {"generation"}  # noqa: RUF012 # the name and type are Jinja's

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()
