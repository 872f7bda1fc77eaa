"""A deployment whose containers run on several nodes."""

import pytest
from msgspec import UNSET

from pytest_bench.errors import SuiteError
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.deployment_nodes import with_addresses

TAIL = "datasets: {d: {path: x.jsonl}}\nperf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"
PROXY = "proxy: {rank: 0, image: i, network: host, port: 8000, serves: true, arguments: ['{address.decode}']}"
DECODE = "decode: {rank: 1, image: i, network: host, port: 8001}"


def suite(*roles, nodes="nodes: {count: 2}"):
    containers = "".join(f"    {role}\n" for role in roles)
    head = f"suite: s\ndeployment:\n  api: openai-chat\n  model: m\n  {nodes}\n"
    return f"{head}  containers:\n{containers}{TAIL}"


@pytest.fixture
def problems(bench):
    def found(*roles, **parts):
        with pytest.raises(SuiteError) as raised:
            bench.plan(suite(*roles, **parts))
        return raised.value.problems

    return found


def test_each_role_has_the_rank_that_is_declared(bench):
    plan = bench.plan(suite(PROXY, DECODE)).deployments["s"]
    assert plan.nodes.count == 2
    assert {each.role: each.rank for each in plan.containers} == {"proxy": 0, "decode": 1}


def test_an_endpoint_on_the_command_line_needs_no_nodes(bench):
    plan = bench.plan(suite(PROXY, DECODE), endpoints=("http://host:8000",)).deployments["s"]
    assert (plan.containers, plan.nodes) == ((), UNSET)


@pytest.mark.parametrize(
    ("role", "said"),
    [
        (DECODE.replace("rank: 1", "rank: 2"), "decode.rank is 2; expected at most 1, with 2 nodes"),
        (DECODE.replace("network: host", "network: bridge"), "decode listens on a bridge network"),
        (DECODE.replace("rank: 1", "rank: 0"), "nodes have no container on rank 1"),
        (
            DECODE.replace("decode:", "other:"),
            "proxy uses {address.decode}, but no container has the role 'decode'",
        ),
        (DECODE.replace("image: i", "image: i, image_cache: c"), "with another `build` or `image_cache`"),
    ],
)
def test_a_contradiction_between_nodes_and_roles_is_a_problem(problems, role, said):
    assert any(said in sentence for sentence in problems(PROXY, role))


def test_a_rank_without_nodes_is_a_problem(problems):
    assert any(
        "is 1, but the deployment has no `nodes`" in each
        for each in problems(PROXY, DECODE, nodes="path: /p")
    )


def test_addresses_replace_their_placeholders_and_nothing_else():
    plan = ContainerPlan(
        image="i",
        entrypoint=("sh", "{address.decode}"),
        command=("{other} {address.decode}:1",),
        arguments=("{}", "{address.proxy}"),
        environment={"A": "http://{address.decode}", "B": "{address}"},
        setup=(("ping", "{address.proxy}"),),
    )
    found = with_addresses(plan, {"decode": "10.0.0.2", "proxy": "10.0.0.1"})
    assert found.entrypoint == ("sh", "10.0.0.2")
    assert found.command == ("{other} 10.0.0.2:1",)
    assert found.arguments == ("{}", "10.0.0.1")
    assert found.environment == {"A": "http://10.0.0.2", "B": "{address}"}
    assert found.setup == (("ping", "10.0.0.1"),)
