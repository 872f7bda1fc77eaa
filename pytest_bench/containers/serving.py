"""Starts the container of a deployment, and removes it whatever happens."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import docker.errors
import msgspec

from pytest_bench.containers import evidence as records
from pytest_bench.containers.artifacts import copy_out
from pytest_bench.containers.container import Container, config_differences
from pytest_bench.containers.engine import ContainerError, Engine, api_errors, connect, describe, host_of
from pytest_bench.containers.environment import Environment, resolve
from pytest_bench.containers.gpus import amd_environment
from pytest_bench.containers.images import Image, provide
from pytest_bench.containers.ownership import OWNER, PREFIX, Owner, remove, remove_left_over
from pytest_bench.containers.request import creation, require_free
from pytest_bench.containers.watchdog import watching
from pytest_bench.errors import BenchError
from pytest_bench.files import write_json
from pytest_bench.suite.container_plan import ContainerPlan

WATCHDOG_LOG = "watchdog.log"
ARTIFACTS = "artifacts"


@contextmanager
def serve(
    plan: ContainerPlan,
    *,
    suite: str,
    nonce: str,
    folder: Path,
    environ: Mapping[str, str] = os.environ,
    timeout_s: float,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Container]:
    """Start the container of a suite and yield it when its server listens and is verified. It is removed at the end.

    `nonce` is that of the session. `folder`, which must exist, receives evidence, log, diagnostics and artifacts.
    `timeout_s` limits the time from the start of the container until the block begins. Raises `UsageError` for a
    variable, device or GPU that this host does not have, and `ContainerError` for everything else. Of an error in the
    block, `ContainerError` and others of this package get the end of the container's log.
    """
    environment = resolve(plan, environ)
    confined = amd_environment(plan.devices, environment.values, environ)
    environment = Environment(
        values={**environment.values, **confined}, forwarded=(*environment.forwarded, *confined)
    )
    owner = f"{nonce[:12]}-{secrets.token_hex(6)}"
    with connect(environ) as client:
        engine = describe(client, environ)
        with api_errors("containers of earlier sessions"):
            for name in remove_left_over(client):
                on_wait(f"removed {name}, which a killed session had left")
        image = provide(client, plan, environ)
        asked = creation(plan, environment.values, image.config, environ)
        if plan.network == "host" and engine.is_local:
            require_free(plan.port)
        with watching(owner, folder / WATCHDOG_LOG) as watch:
            with api_errors(f"the container of suite {suite}"):
                created = client.containers.create(
                    image.id,
                    name=f"pytest-bench-{suite}-{owner}",
                    labels={**Owner.here().labels(), OWNER: owner, f"{PREFIX}session": nonce},
                    **asked,
                )
            try:
                yield from _serve(
                    _Started(client, engine, image, created, plan, environment, asked, folder, nonce),
                    timeout_s,
                    on_wait,
                )
            finally:
                with api_errors(f"the container {created.name} could not be removed"):
                    remove(created)
                watch.stand_down()


class _Started(msgspec.Struct, frozen=True):
    """What is known about a container before its server is ready."""

    client: docker.DockerClient
    engine: Engine
    image: Image
    created: docker.models.containers.Container
    plan: ContainerPlan
    environment: Environment
    asked: dict[str, Any]
    folder: Path
    nonce: str


def _serve(started: _Started, timeout_s: float, on_wait: Callable[[str], None]) -> Iterator[Container]:
    plan, created, folder = started.plan, started.created, started.folder
    with api_errors(f"the container {created.name} could not be started"):
        created.start()
    deadline = time.monotonic() + timeout_s
    container = Container(started.client, created, plan, folder)
    evidence = _evidence(started)
    try:
        container.require_running()
        config = container.attributes["Config"]
        container.require_no(
            config_differences(config, started.asked, started.environment, started.image.config)
        )
        container.url = evidence.url = _url(started)
        evidence.verified = container.await_serving(started.environment, deadline, on_wait)
        write_json(folder / records.NAME, evidence)
        yield container
    except ContainerError:
        raise
    except BenchError as error:
        container.require_running()
        raise ContainerError(
            f"{error}\nThe container {container.name} still runs.{container.story()}"
        ) from error
    finally:
        _conclude(container, created, evidence, folder)


def _conclude(
    container: Container,
    created: docker.models.containers.Container,
    evidence: records.Evidence,
    folder: Path,
) -> None:
    """Stop the container, copy its artifacts out, and write the evidence."""
    problems: list[str] = []
    plan = container.plan
    try:
        created.stop(timeout=round(plan.stop_timeout_s))
        state = container.state()
        evidence.ended = records.End(
            exit_code=int(state["ExitCode"]),
            out_of_memory=bool(state["OOMKilled"]),
            error=str(state["Error"]),
            started=str(state["StartedAt"]),
            finished=str(state["FinishedAt"]),
        )
    except (docker.errors.DockerException, ContainerError, LookupError) as error:
        problems.append(f"the container could not be stopped: {error}")
    evidence.log, evidence.log_proof = container.log.close(), container.proof
    evidence.artifacts = tuple(copy_out(created, plan.artifacts, folder / ARTIFACTS, problems))
    evidence.problems = tuple(problems)
    write_json(folder / records.NAME, evidence)


def _url(started: _Started) -> str:
    plan = started.plan
    host = host_of(started.engine)
    if plan.network == "host":
        return f"http://{host}:{plan.port}"
    published = started.created.attrs["NetworkSettings"]["Ports"].get(f"{plan.port}/tcp")
    if not published:
        raise ContainerError(
            f"the engine has published no port for {plan.port}/tcp of {started.created.name}"
        )
    if not started.engine.is_local and plan.bind in {"127.0.0.1", "::1", "localhost"}:
        raise ContainerError(
            f"the engine {started.engine.address} is on another host, but the port is published at {plan.bind} of "
            "that host: set deployment.container.bind to an address that this host can reach"
        )
    return f"http://{host}:{published[0]['HostPort']}"


def _evidence(started: _Started) -> records.Evidence:
    image = started.image
    host_config: Mapping[str, Any] = started.created.attrs["HostConfig"]
    return records.Evidence(
        nonce=started.nonce,
        name=str(started.created.name),
        engine=started.engine,
        image=records.ImageUsed(
            reference=image.reference,
            id=image.id,
            identity=image.identity.digest,
            layers=image.identity.layers,
            provenance=image.provenance,
        ),
        entrypoint=tuple(started.asked["entrypoint"]),
        command=tuple(started.asked["command"]),
        environment=tuple(sorted(started.environment.values)),
        forwarded=tuple(sorted(started.environment.forwarded)),
        asked={
            name: value
            for name, value in sorted(host_config.items())
            if value not in (None, "", 0, False, [], {})
        },
    )
