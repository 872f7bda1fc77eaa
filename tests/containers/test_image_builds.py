"""Images are built with the command line, and `--build-context` only where the plugin buildx is installed."""

import os
import shutil
from pathlib import Path

import pytest

from pytest_bench.catalogue.containers import require_containers
from pytest_bench.containers.builds import build, buildx_problem, command_of, fingerprint_of
from pytest_bench.containers.engine import ContainerError
from pytest_bench.errors import UsageError
from pytest_bench.suite.container_plan import Build, ContainerPlan
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point

needs_docker = pytest.mark.skipif(
    shutil.which("docker") is None and not os.environ.get("CI"), reason="no command `docker`"
)

PLUGIN = """\
#!/bin/sh
if [ "$1" = docker-cli-plugin-metadata ]; then
  echo '{"SchemaVersion":"0.1.0","Vendor":"test","Version":"v0"}'
else
  printf '%s\\n' "$@" >>"$PLUGIN_LOG"
fi
"""
"""A replacement of buildx: the command `docker` starts it like any plugin, and it records its arguments."""


@pytest.fixture
def without_buildx(tmp_path):
    """An environment in which the command `docker` finds no plugin of a user."""
    if shutil.which("docker") and buildx_problem(dict(os.environ)) is None:
        pytest.skip("buildx is installed for all users")
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "config")}


@pytest.fixture
def with_buildx(without_buildx, tmp_path):
    plugin = tmp_path / "config" / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(PLUGIN)
    plugin.chmod(0o755)
    return {**without_buildx, "PLUGIN_LOG": str(tmp_path / "log")}


CONTEXTS = {"models": "/data/models", "base": "docker-image://server:1"}


def check(environ, *, offline=False):
    """Check what a point needs whose container is built with further contexts."""
    container = ContainerPlan(image="i", build=Build(context="/x", contexts=CONTEXTS))
    deployment = DeploymentPlan(
        suite="s",
        api="a",
        api_reference="r",
        model="m",
        endpoints=(),
        containers=(container,),
        origin="s.yaml:2:1",
    )
    point = Point(
        id="s/perf/p", suite="s", kind="perf", name="p", origin="s.yaml:9:1", dataset=None, load=None
    )
    plan = Plan(deployments={"s": deployment}, datasets={"s": {}}, points=(point,))
    require_containers(plan, [point], environ, offline=offline)


@needs_docker
def test_a_further_context_is_refused_before_anything_starts_where_buildx_is_absent(without_buildx):
    with pytest.raises(UsageError) as raised:
        check(without_buildx)
    assert str(raised.value).startswith(
        "s.yaml:2:1: deployment.container.build.contexts need `docker buildx`, which is not installed here"
    )


def test_without_the_command_docker_it_is_refused_too_unless_nothing_would_start(tmp_path):
    with pytest.raises(UsageError, match="need the command `docker`"):
        check({"PATH": str(tmp_path)})
    check({"PATH": str(tmp_path)}, offline=True)


@needs_docker
def test_where_the_plugin_is_installed_it_is_accepted_and_gets_every_context(with_buildx):
    check(with_buildx)
    build("i:1", Build(context="/x", contexts=CONTEXTS, target="t"), with_buildx)
    words = Path(with_buildx["PLUGIN_LOG"]).read_text().splitlines()
    given = [words[place + 1] for place, word in enumerate(words) if word == "--build-context"]
    assert given == ["models=/data/models", "base=docker-image://server:1"]
    assert words[-1] == "/x"


def test_without_further_contexts_the_plain_command_builds(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    plan = Build(context=str(tmp_path), arguments={"A": "1 2"})
    assert command_of("docker", "i:1", plan) == [
        *("docker", "build", "--tag", "i:1", "--build-arg", "A=1 2", str(tmp_path))
    ]


def test_other_contexts_are_another_build(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    plan = Build(context=str(tmp_path))
    assert fingerprint_of(plan) != fingerprint_of(Build(context=str(tmp_path), contexts=CONTEXTS))
    with pytest.raises(ContainerError, match="cannot be read"):
        fingerprint_of(Build(context=str(tmp_path / "gone")))
