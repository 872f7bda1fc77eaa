"""Settings of the deployment that a suite overrides for its evals, which then have a deployment of their own."""

from __future__ import annotations

import pytest

from pytest_bench.suite.eval_deployment import one_server_for_two

BODY = """\
perf:
  fast: {dataset: prompts, load: {pattern: concurrency, concurrency: 1, requests: 2}}
audit:
  cached: {test: output-caching, of: fast}
eval:
  sums: {task: sums, dataset: prompts, concurrency: 2}
  deployment: %s
"""
CONTAINER = """suite: chat
deployment:
  api: openai-chat
  model: m
  container:
    image: engine:1
    command: [serve]
    arguments: [--max-model-len, "4096"]
    environment: {A: one, B: two}
datasets:
  prompts: {path: data/prompts.jsonl}
"""
LONGER = '{container: {arguments: [--max-model-len, "32768"], environment: {B: three}}}'


def test_evals_have_a_deployment_of_their_own_in_which_only_these_settings_differ(bench):
    plan = bench.plan(CONTAINER + BODY % LONGER)
    own, base = plan.deployments["chat.eval"], plan.deployments["chat"]
    (mine,), (theirs,) = own.containers, base.containers
    assert mine.arguments == ("--max-model-len", "32768")
    assert theirs.arguments == ("--max-model-len", "4096")
    assert mine.environment == {"A": "one", "B": "three"}
    assert (own.model, mine.image, own.overridden) == ("m", "engine:1", ("container",))
    assert own.origin.startswith("chat.yaml:18:")
    assert [(point.kind, plan.deployment_of(point) is own) for point in plan.points] == [
        ("audit", False),
        ("perf", False),
        ("eval", True),
    ]


def test_points_of_one_deployment_follow_each_other_whatever_the_order_of_kinds(bench):
    plan = bench.plan(CONTAINER + BODY % LONGER + "order: [perf, eval, audit]\n")
    assert [point.kind for point in plan.points] == ["perf", "audit", "eval"]


def test_what_is_overridden_is_part_of_the_identity_of_evals_only(bench):
    digests = []
    for length in (8192, 32768):
        plan = bench.plan(CONTAINER + BODY % LONGER.replace("32768", str(length)))
        digests.append({point.kind: plan.point_digest(point) for point in plan.points})
    assert digests[0]["perf"] == digests[1]["perf"]
    assert digests[0]["eval"] != digests[1]["eval"]


@pytest.mark.parametrize(
    ("override", "endpoints", "has_container"),
    [("{endpoint: 'http://other:1'}", ("http://other:1",), False), (LONGER, (), True)],
)
def test_another_kind_of_server_takes_the_place_of_the_suites(bench, override, endpoints, has_container):
    text = (
        CONTAINER if not has_container else CONTAINER.replace("  container:", "  endpoint: ''\n  container:")
    )
    own = bench.plan(text + BODY % override).deployments["chat.eval"]
    assert (own.endpoints, bool(own.containers)) == (endpoints, has_container)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        (
            "{}",
            "chat.yaml:12:15: eval.deployment has no settings; expected those of `deployment` that differ",
        ),
        ("{model: x}", "eval.deployment.model cannot be overridden for evals: scores of another model"),
        ("{generation: {temperature: 0}}", "each eval has a `generation` of its own"),
        ("{tokens: {count: usage}}", "no tokens are counted in an eval"),
        ("{cache_reset: /reset}", "an eval resets no cache"),
        ("{model: m}", "eval.deployment.model cannot be overridden"),
        ('{endpoint: "http://host:8000"}', "repeats settings of `deployment`"),
        ("{prob: /ready}", "chat.yaml:12:16: unknown key 'prob' in deployment; expected one of"),
        ("{ready_timeout_s: soon}", 'chat.yaml:12:33: deployment.ready_timeout_s is "soon", which is text'),
        ("[]", "eval.deployment is a list; expected a mapping"),
    ],
)
def test_an_override_that_means_nothing_is_refused_where_it_is_written(bench, override, complaint):
    assert complaint in "\n".join(bench.body_problems(BODY % override))


def test_an_override_without_evals_is_refused(bench):
    body = BODY.replace("  sums: {task: sums, dataset: prompts, concurrency: 2}\n", "") % "{probe: /p}"
    assert "is for evals, and the suite declares none" in "\n".join(bench.body_problems(body))


def test_one_server_cannot_serve_two_deployments_of_which_one_is_overridden(bench):
    plan = bench.plan(CONTAINER + BODY % LONGER, endpoints=("http://there:1",))
    (problem,) = one_server_for_two(plan, plan.points)
    assert problem.startswith("chat.yaml:18:3: the evals of suite 'chat' override container, and --endpoint")
    evals = [point for point in plan.points if point.kind == "eval"]
    assert one_server_for_two(plan, evals) == []
    assert one_server_for_two(plan, [point for point in plan.points if point not in evals]) == []


@pytest.mark.parametrize("endpoints", [(), ("simulator",)])
def test_the_simulator_is_started_for_each_deployment(bench, endpoints):
    plan = bench.plan(CONTAINER + BODY % LONGER, endpoints=endpoints)
    assert one_server_for_two(plan, plan.points) == []
