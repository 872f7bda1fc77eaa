"""What suites may ask for: the shipped words, and those of third parties, which are looked at first."""

import os
import sys
import types

import pytest

from pytest_bench.api import Api
from pytest_bench.api.openai_chat import OpenAIChat
from pytest_bench.catalogue import all_apis, require_possible, vocabulary
from pytest_bench.catalogue.tokenizers import require_tokenizers
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


def test_everything_that_is_missing_is_reported_at_once(offered):
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


def test_a_limit_on_tokens_needs_no_tokenizer_because_the_servers_usage_can_count(tmp_path):
    plan = plan_of(tmp_path)
    require_possible(plan, plan.points)
    require_tokenizers(plan, plan.points)


def test_a_limit_on_tokens_of_videos_is_refused_where_it_stands(tmp_path):
    (tmp_path / "clips.yaml").write_text(
        "suite: clips\ndeployment: {api: videos, model: m}\ndatasets: {rows: {path: rows.jsonl}}\n"
        "perf: {p: {dataset: rows, load: {pattern: burst, requests: 1}, bounds: {output_token_throughput: '>= 1'}}}\n"
    )
    plan = load_plan([tmp_path / "clips.yaml"], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)
    with pytest.raises(
        SuiteError, match="'output_token_throughput' counts tokens, and this API delivers videos"
    ):
        require_possible(plan, plan.points)


@pytest.mark.parametrize(
    "limits", ["bounds: {time_to_first_token.p99: '<= 1s'}", "slo: {time_per_output_token: '<= 1s'}"]
)
def test_a_limit_on_the_stream_of_answers_that_are_not_streamed_is_refused_where_it_stands(tmp_path, limits):
    (tmp_path / "whole.yaml").write_text(
        "suite: whole\ndeployment: {api: openai-chat, model: m, generation: {stream: false}}\n"
        "datasets: {rows: {path: rows.jsonl}}\n"
        f"perf: {{p: {{dataset: rows, load: {{pattern: burst, requests: 1}}, {limits}}}}}\n"
    )
    plan = load_plan([tmp_path / "whole.yaml"], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)
    with pytest.raises(
        SuiteError, match=r"whole\.yaml:4:.* needs answers that are streamed, and these are not"
    ):
        require_possible(plan, plan.points)


@pytest.mark.parametrize("name", ["../models/gone", "models/gone/tokenizer.json", "/models/gone"])
def test_a_tokenizer_that_is_missing_is_refused_with_the_place_where_it_was_looked_for(tmp_path, name):
    plan = plan_of(tmp_path, f", tokens: {{tokenizer: {name}}}")
    with pytest.raises(SuiteError) as caught:
        require_tokenizers(plan, plan.points)
    (problem,) = caught.value.problems
    assert problem.startswith("chat.yaml:3:1: tokenizer ")
    assert os.path.normpath(tmp_path / name) in problem
    require_tokenizers(plan, [])


def test_a_tokenizer_that_looks_like_a_hub_id_is_looked_for_in_both_places(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    plan = plan_of(tmp_path, ", tokens: {tokenizer: models/gone}")
    with pytest.raises(SuiteError) as caught:
        require_tokenizers(plan, plan.points)
    (problem,) = caught.value.problems
    assert "neither cached on this machine nor reachable" in problem
    assert f"looked for {tmp_path / 'models/gone'}" in problem


def test_a_rule_or_a_limit_that_needs_a_tokenizer_is_refused_where_there_is_none(tmp_path):
    plan = plan_of(tmp_path, ", tokens: {count: tokenizer}")
    with pytest.raises(SuiteError, match="`count: tokenizer` has no tokenizer to count with"):
        require_tokenizers(plan, plan.points)
    (tmp_path / "chat.yaml").write_text(
        (SUITE % "").replace("output_token_throughput:", "token_count_mean_difference:")
    )
    plan = load_plan([tmp_path / "chat.yaml"], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)
    with pytest.raises(SuiteError, match=r"chat\.yaml:11:36: 'token_count_mean_difference' compares"):
        require_tokenizers(plan, plan.points)


def test_the_model_itself_may_be_the_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    plan = plan_of(tmp_path, ", tokens: {count: tokenizer}", served_model=str(tmp_path))
    require_tokenizers(plan, plan.points)


def refusals_of(folder, *, load, bounds="", slo="") -> str:
    """What is said of one point's limits, each on its own line; empty where they can all be judged."""
    (folder / "one.yaml").write_text(
        "suite: one\n"
        "deployment: {api: openai-chat, model: m}\n"
        "datasets: {rows: {path: rows.jsonl}}\n"
        f"perf: {{p: {{dataset: rows, load: {load}, bounds: {{{bounds}}}, slo: {{{slo}}}}}}}\n",
        encoding="utf-8",
    )
    plan = load_plan([folder / "one.yaml"], vocabulary(all_apis([])), Overrides(), {}, root=folder)
    try:
        require_possible(plan, plan.points)
    except SuiteError as error:
        return "\n".join(error.problems)
    return ""


CLOSED = "{pattern: concurrency, concurrency: 1, requests: 9}"
OPEN = "{pattern: poisson, rate: 1, requests: 9}"
BURST = "{pattern: burst, requests: 9}"
MIXED = f"{{pattern: stages, stages: [{CLOSED}, {OPEN}]}}"
CLOSED_STAGES = f"{{pattern: stages, stages: [{CLOSED}]}}"


@pytest.mark.parametrize("metric", ["goodput", "good_request_fraction"])
def test_goodput_without_an_slo_is_refused(tmp_path, metric):
    said = refusals_of(tmp_path, load=CLOSED, bounds=f"{metric}: '>= 0.5'")
    assert said.startswith("one.yaml:4:")
    assert f"{metric!r} counts requests that meet the `slo`" in said
    assert not refusals_of(
        tmp_path, load=CLOSED, bounds=f"{metric}: '>= 0.5'", slo="request_latency: '<= 1s'"
    )


def test_a_limit_from_the_scheduled_time_is_refused_in_a_closed_loop_alone(tmp_path):
    bound, slo = "scheduled_request_latency.p99: '<= 1s'", "scheduled_time_to_first_token: '<= 1s'"
    for load in (CLOSED, CLOSED_STAGES):
        latency, first = refusals_of(tmp_path, load=load, bounds=bound, slo=slo).splitlines()
        assert (
            "a closed loop does not have; expected 'request_latency', or an open-loop load (constant,"
            in latency
        )
        assert "expected 'time_to_first_token'" in first
    for load in (OPEN, BURST, MIXED):
        assert not refusals_of(tmp_path, load=load, bounds=bound, slo=slo)


@pytest.mark.parametrize(
    ("metric", "limit", "refused"),
    [
        ("schedule_lateness.p99", "<= 1s", {CLOSED, BURST, CLOSED_STAGES}),
        ("server_scenario_throughput", ">= 1", {CLOSED, BURST, MIXED, CLOSED_STAGES}),
        ("steady_request_throughput", ">= 1", {BURST, MIXED, CLOSED_STAGES}),
    ],
)
def test_a_metric_is_refused_under_the_loads_that_never_have_it(tmp_path, metric, limit, refused):
    loads = (CLOSED, OPEN, BURST, MIXED, CLOSED_STAGES)
    bounds = f"{metric}: '{limit}'"
    assert {load for load in loads if refusals_of(tmp_path, load=load, bounds=bounds)} == refused
    said = refusals_of(tmp_path, load=BURST, bounds=bounds)
    assert said.startswith("one.yaml:4:")
    assert "; expected " in said


@pytest.mark.parametrize(
    ("metric", "limit"),
    [
        ("failed_requests", "== 0"),
        ("request_latency.max", "<= 1s"),
        ("request_latency.early_stopping_p99", "<= 1s"),
        ("inter_chunk_latency.p99", "<= 1s"),
        ("steady_request_throughput", ">= 1"),
    ],
)
def test_a_confidence_on_what_has_no_interval_is_refused(tmp_path, metric, limit):
    said = refusals_of(tmp_path, load=CLOSED, bounds=f"{metric}: {{bound: '{limit}', confidence: 0.95}}")
    assert said.startswith("one.yaml:4:")
    assert f"{metric!r} has no confidence interval; expected no" in said
    assert not refusals_of(tmp_path, load=CLOSED, bounds=f"{metric}: '{limit}'")


@pytest.mark.parametrize(
    "metric", ["request_latency.p99", "request_latency.mean", "error_rate", "request_throughput"]
)
def test_a_confidence_on_what_has_an_interval_is_taken(tmp_path, metric):
    limit = ">= 1s" if "." in metric else ">= 0.5"
    enough = CLOSED.replace("requests: 9", "requests: 400")
    assert not refusals_of(tmp_path, load=enough, bounds=f"{metric}: {{bound: '{limit}', confidence: 0.95}}")


@pytest.mark.parametrize(
    ("load", "issued"),
    [
        (CLOSED.replace("requests: 9", "requests: 298"), "298"),
        (CLOSED.replace("requests: 9", "requests: 16, duration_s: 60"), "16"),
        (OPEN, "9"),
        (BURST, "9"),
        (CLOSED_STAGES, "9"),
    ],
)
def test_a_confidence_is_refused_for_fewer_requests_than_an_interval_needs(tmp_path, load, issued):
    said = refusals_of(tmp_path, load=load, bounds="request_latency.p99: {bound: '<= 1s', confidence: 0.9}")
    assert said.startswith("one.yaml:4:")
    assert (
        "needs 299 requests for an interval of confidence 0.9, and the point issues at most "
        f"{issued}; expected `requests` of at least 299, or a bound without `confidence`"
    ) in said


@pytest.mark.parametrize(
    "load",
    [
        CLOSED.replace("requests: 9", "requests: 299"),
        CLOSED.replace("requests: 9", "duration_s: 5"),
        CLOSED.replace("requests: 9", "requests: 9, duration_s: 60, stop: and"),
    ],
)
def test_a_confidence_is_accepted_if_there_may_be_enough_requests(tmp_path, load):
    bound = "request_latency.p99: {bound: '<= 1s', confidence: 0.9}"
    assert not refusals_of(tmp_path, load=load, bounds=bound)


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ('{"prompt": "a", "contnet": "b"}', r"answers\.jsonl:1: .*unknown field `contnet`"),
        (None, r"answers\.jsonl: the simulator's answers cannot be read: No such file"),
    ],
)
def test_answers_of_the_simulator_are_read_before_anything_starts(tmp_path, answers, complaint):
    (tmp_path / "s.yaml").write_text(
        "suite: s\ndeployment: {api: openai-chat, model: m, simulator: {answers: answers.jsonl}}\n"
        "datasets: {d: {path: d.jsonl}}\nperf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"
    )
    if answers is not None:
        (tmp_path / "answers.jsonl").write_text(answers)
    with pytest.raises(SuiteError, match=complaint):
        load_plan([tmp_path / "s.yaml"], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)
