"""Evals whose results are tables of another tool, as suites declare them."""

from __future__ import annotations

import pytest

from pytest_bench.suite.command_evals import secrets_of
from pytest_bench.suite.plan import Secret
from pytest_bench.suite.table_evals import DEFAULT_PATHS, has_tables

SUITE = """suite: s
deployment: {{api: openai-chat, model: m}}
eval:
  e:
    command: [{command}]
    tables: {tables}
{fields}
"""


def suite(command="madengine, run", tables="{}", fields=""):
    return SUITE.format(command=command, tables=tables, fields=fields)


def test_tables_make_one_point_with_the_defaults_filled_in(bench):
    (point,) = bench.plan(suite()).points
    assert (point.id, has_tables(point), point.dataset, point.load) == ("s/eval/e", True, None, None)
    assert point.options["nodes"] == 1
    assert point.options["resume"] == "never"
    assert point.options["tables"] == {
        "paths": list(DEFAULT_PATHS),
        "wait_s": 30,
        "combine": {},
        "expect_rows": [],
    }


def test_bounds_are_on_rows(bench):
    (point,) = bench.plan(suite(fields='    bounds: {"chat v1.5 tokens/s": ">= 1e2"}')).points
    (bound,) = point.bounds
    assert (bound.metric, bound.comparison, bound.limit) == ("chat v1.5 tokens/s", ">=", 100.0)


def test_an_endpoint_is_needed_only_by_a_command_that_names_it(bench):
    plan = bench.plan(suite(), endpoints=("http://host:1",))
    assert not plan.needs_endpoint("s")
    assert plan.deployments["s"].endpoints == ()
    plan = bench.plan(suite(command='tool, "{endpoint}"'), endpoints=("http://host:1",))
    assert plan.needs_endpoint("s")
    assert plan.deployments["s"].endpoints == ("http://host:1",)


def test_keys_in_its_environment_are_secrets(bench):
    plan = bench.plan(suite(fields="    environment: {RANK: '{rank}', HF_TOKEN: {from_env: KEY}}"))
    assert [secret for _, secret in secrets_of(plan.points)] == [Secret(from_env="KEY")]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"command": '"{concurrency}"'}, "holds {concurrency}, which is not a placeholder"),
        ({"command": ""}, "command"),
        ({"tables": "{paths: ['/results/*.csv']}"}, "an absolute path must hold {job}"),
        ({"tables": "{paths: ['{rank}.csv']}"}, "holds {rank}, which is not a placeholder"),
        ({"tables": "{paths: []}"}, "paths"),
        ({"tables": "{combine: {a: median}}"}, "combine"),
        ({"tables": "{expect_rows: [{model: m}]}"}, "has no 'metric'"),
        ({"tables": "{wait_s: -1}"}, "wait_s"),
        ({"fields": "    nodes: 0"}, "nodes"),
        ({"fields": "    environment: {HF_TOKEN: abc}"}, "holds a key"),
        ({"fields": "    environment: {A: '{x}'}"}, "holds {x}, which is not a placeholder"),
        ({"fields": '    bounds: {"chat throughput": ">= fast"}'}, "is not a bound"),
        ({"fields": '    bounds: {"chat throughput": ">= 100ms"}'}, "is in the unit of its table"),
        ({"fields": "    tasks: [gsm8k]"}, "unknown key 'tasks'"),
        ({"fields": "    concurrency: 1"}, "unknown key 'concurrency'"),
    ],
)
def test_tables_that_could_not_be_judged_are_refused(bench, given, complaint):
    problems = bench.problems(suite(**given))
    assert any(complaint in problem for problem in problems), problems
    assert all(problem.startswith("chat.yaml:") for problem in problems)
