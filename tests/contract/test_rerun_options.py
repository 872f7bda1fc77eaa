"""The rerun command of a point contains every option that the point depends on."""

import shlex
from types import SimpleNamespace

import pytest

from pytest_bench.plugin.options import OptionSources
from pytest_bench.plugin.selection import Selection
from pytest_bench.plugin.session import Session
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point


@pytest.fixture
def rerun(request):
    """The rerun command of a point, after a call of `pytest bench` with these options, as words."""

    def words(*options):
        given = SimpleNamespace(
            getini=lambda _: [],
            invocation_params=SimpleNamespace(args=("bench", *options)),
            known_args_namespace=request.config.known_args_namespace,
        )
        deployment = DeploymentPlan(
            suite="s", api="a", api_reference="", model="m", endpoints=(), origin="bench/s.yaml:1:1"
        )
        point = Point(
            id="s/perf/p",
            suite="s",
            kind="perf",
            name="p",
            origin="bench/s.yaml:9:3",
            dataset=None,
            load=None,
        )
        session = Session(
            plan=Plan(deployments={"s": deployment}, datasets={}, points=(point,), root="/root-of-suites"),
            nonce="",
            results_path="/root-of-suites/r",
            root_path="/root-of-suites",
            selection=Selection(),
            rerun_options=OptionSources(given, request.config._parser).rerun_options(),
        )
        return shlex.split(session.rerun(point))

    return words


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
def test_an_option_that_the_point_depends_on_is_given_again(rerun, option):
    again = rerun("-q", *option, "-x")
    assert again[:4] == ["pytest", "bench", "-k", "s/perf/p"]
    assert again[4:] == ["=".join(option)]
