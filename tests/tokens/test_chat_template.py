from __future__ import annotations

import json

import pytest

from pytest_bench.errors import TokensError
from pytest_bench.tokens.chat import ChatTemplate, load_chat_template

TURNS = """{{ bos_token }}{% for message in messages %}
<|{{ message.role }}|>{{ message.content }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi & <b>"}]
RENDERED = "<s><|system|>Be brief.<|end|>\n<|user|>Hi & <b><|end|>\n"


def template(source):
    return ChatTemplate(source, {"bos_token": "<s>"}, "model/chat_template.jinja")


def test_messages_are_rendered_with_the_prompt_of_the_models_turn():
    assert template(TURNS).render(MESSAGES) == RENDERED + "<|assistant|>"
    assert template(TURNS).render(MESSAGES, add_generation_prompt=False) == RENDERED


def test_a_template_file_takes_precedence_over_the_settings(tmp_path):
    settings = {"chat_template": "settings", "bos_token": {"content": "<s>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_chat_template(tmp_path).render(MESSAGES) == "settings"
    (tmp_path / "chat_template.jinja").write_text(TURNS)
    assert load_chat_template(tmp_path).render(MESSAGES) == RENDERED + "<|assistant|>"


def test_of_several_templates_the_default_is_loaded(tmp_path):
    several = [{"name": "tool_use", "template": "two"}, {"name": "default", "template": "one"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert load_chat_template(tmp_path).render(MESSAGES) == "one"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several[:1]}))
    with pytest.raises(TokensError, match="no chat template 'default', only tool_use"):
        load_chat_template(tmp_path)


def test_a_tokenizer_without_a_template_has_none(tmp_path):
    assert load_chat_template(tmp_path) is None


def test_tools_are_written_as_plain_json():
    source = "{{ tools | tojson }}"
    assert template(source).render(MESSAGES, tools=[{"name": "ä<b>"}]) == '[{"name": "ä<b>"}]'


def test_training_marks_and_loop_controls_are_understood():
    source = "{% for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}{% break %}{% endfor %}"
    assert template(source).render(MESSAGES) == "system"


def test_variables_of_a_template_can_be_given():
    assert template("{{ enable_thinking }}").render(MESSAGES, enable_thinking=False) == "False"


def test_a_refusal_by_the_template_names_the_file_and_the_reason():
    with pytest.raises(TokensError, match=r"model/chat_template\.jinja.*roles must alternate"):
        template("{{ raise_exception('roles must alternate') }}").render(MESSAGES)


def test_a_template_cannot_leave_its_sandbox():
    for source in ("{{ messages.__class__.__mro__ }}", "{{ messages.append(1) }}"):
        with pytest.raises(TokensError, match="does not take these messages"):
            template(source).render(MESSAGES)


def test_a_template_with_bad_syntax_is_refused_when_it_is_loaded():
    with pytest.raises(TokensError, match="is not valid"):
        template("{% for %}")
