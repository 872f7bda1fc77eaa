"""The rerun command of a point contains every option that the point depends on."""

import shlex

import pytest

from pytest_bench.plugin.session import Session
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point


def rerun(*invocation):
    deployment = DeploymentPlan(
        suite="s", api="a", api_reference="", model="m", endpoints=(), origin="bench/s.yaml:1:1"
    )
    point = Point(
        id="s/perf/p", suite="s", kind="perf", name="p", origin="bench/s.yaml:9:3", dataset=None, load=None
    )
    plan = Plan(deployments={"s": deployment}, datasets={}, points=(point,), root="/root-of-suites")
    session = Session(
        plan=plan,
        nonce="",
        results_path="/root-of-suites/r",
        root_path="/root-of-suites",
        invocation=("bench", *invocation),
        started="",
    )
    return shlex.split(session.rerun(point))


@pytest.mark.parametrize(
    "option",
    [
        ["--data-seed=7"],
        ["--data-seed", "7"],
        ["--load-seed=7"],
        ["--ready-timeout=5"],
        ["--endpoint=http://h:1"],
        ["--api-key-env", "KEY"],
    ],
)
def test_an_option_that_the_point_depends_on_is_given_again(option):
    assert rerun("-q", *option, "-x") == ["pytest", "bench", "-k", "s/perf/p", *option]
