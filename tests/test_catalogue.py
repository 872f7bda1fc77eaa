"""What suites may ask for: the shipped words, and those of third parties, which are looked at first."""

import sys
import types

import pytest

from pytest_bench.api import Api
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.catalogue import all_apis, require_possible, vocabulary
from pytest_bench.errors import SuiteError, UsageError
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan

MEMBERS = [*Api.__annotations__, "encode", "prompt", "decode_stream", "decode_body"]


@pytest.fixture
def offered(monkeypatch):
    """Offers an object as the API `acme`, and reads the words that suites may use of it."""

    def offer(api):
        module = types.ModuleType("acme_api")
        module.Acme = api
        monkeypatch.setitem(sys.modules, "acme_api", module)
        return vocabulary(all_apis([{"acme": "acme_api:Acme"}])).apis["acme"]

    return offer


def without(*members: str, **others) -> type:
    """An API that is whole but for `members`."""
    kept = {name: value for name, value in vars(OpenAIChat).items() if not name.startswith("__")}
    return type("Acme", (), {name: kept[name] for name in kept if name not in members} | others)


def test_an_api_that_has_everything_is_taken(offered):
    assert offered(without()).reference == "acme_api:Acme"


@pytest.mark.parametrize("member", MEMBERS)
def test_an_api_that_lacks_a_member_is_refused_with_its_object_and_the_member(offered, member):
    with pytest.raises(UsageError, match=rf"the API 'acme': acme_api:Acme lacks {member}(\(\))?; expected"):
        offered(without(member))


def test_everything_that_is_lacking_is_told_at_once(offered):
    with pytest.raises(UsageError, match=r"lacks delta_key, polls, prompt\(\);"):
        offered(without("polls", "delta_key", "prompt"))


def test_only_an_api_that_polls_needs_to_say_what_is_pending(offered):
    offered(without("pending"))
    with pytest.raises(UsageError, match=r"lacks pending\(\)"):
        offered(without("pending", polls=True))


@pytest.mark.parametrize("required", [frozenset(), frozenset({"text"})])
def test_an_api_requires_columns_of_its_own(offered, required):
    with pytest.raises(UsageError, match="expected one or more of its columns: prompt"):
        offered(without(columns={"prompt": "what is asked"}, required=required))


@pytest.mark.parametrize("reference", ["no_such_module:Acme", "types:Acme", "types", ""])
def test_an_api_that_cannot_be_imported_is_refused_with_its_reference(reference):
    with pytest.raises(UsageError, match=f"the API 'acme' cannot be imported from '{reference}'"):
        vocabulary(all_apis([{"acme": reference}]))


@pytest.mark.parametrize("offer", [["acme_api:Acme"], {"acme": OpenAIChat}])
def test_a_plugin_that_offers_no_references_is_told_how(offer):
    with pytest.raises(UsageError, match="expected import references by name"):
        all_apis([offer])


SUITE = """
suite: chat
deployment: {api: openai-chat, model: m%s}
datasets: {rows: {path: rows.jsonl}}
perf:
  steady:
    dataset: rows
    load: {pattern: concurrency, requests: 8}
    sweep: {concurrency: [1, 4]}
    bounds:
      output_token_throughput: ">= 100"
      time_to_first_token.p99: "<= 1s"
    slo: {time_per_output_token: "<= 50ms"}
"""


def plan_of(folder, tokens="", **overrides):
    (folder / "chat.yaml").write_text(SUITE % tokens, encoding="utf-8")
    return load_plan(
        [folder / "chat.yaml"], vocabulary(all_apis([])), Overrides(**overrides), {}, root=folder
    )


def test_a_limit_on_tokens_that_nothing_would_count_is_refused_where_it_stands(tmp_path):
    plan = plan_of(tmp_path)
    with pytest.raises(SuiteError) as caught:
        require_possible(plan, plan.points)
    bound, slo = caught.value.problems
    assert bound.startswith("chat.yaml:11:32: 'output_token_throughput' takes a tokenizer")
    assert slo.startswith("chat.yaml:13:34: 'time_per_output_token' takes a tokenizer")
    assert "--tokenizer" in slo


def test_a_tokenizer_in_the_suite_or_on_the_command_line_makes_it_possible(tmp_path):
    for plan in (
        plan_of(tmp_path, ", tokens: {tokenizer: some/model}"),
        plan_of(tmp_path, tokenizer="some/model"),
    ):
        require_possible(plan, plan.points)
    require_possible(plan_of(tmp_path), [])
