"""Starts the containers of a deployment, and removes them whatever happens."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import docker.errors
import msgspec

from pytest_bench.containers import evidence as records
from pytest_bench.containers.container import Container, ContainerEnded, config_differences
from pytest_bench.containers.engine import ContainerError, Engine, api_errors, connect, describe, host_of
from pytest_bench.containers.environment import Environment, resolve
from pytest_bench.containers.gpus import amd_environment
from pytest_bench.containers.group import Containers
from pytest_bench.containers.images import Image, provide
from pytest_bench.containers.ownership import (
    OWNER,
    PREFIX,
    Owner,
    remove,
    remove_left_over,
    remove_network,
)
from pytest_bench.containers.remote import require_possible
from pytest_bench.containers.request import creation, require_free
from pytest_bench.containers.watchdog import watching
from pytest_bench.errors import BenchError
from pytest_bench.files import write_json
from pytest_bench.suite.artifacts import at_run
from pytest_bench.suite.container_plan import ContainerPlan

WATCHDOG_LOG = "watchdog.log"
ARTIFACTS = "artifacts"
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 # compared, not bound


class _Asked(msgspec.Struct, frozen=True):
    """What one container is created from."""

    plan: ContainerPlan
    environment: Environment
    image: Image
    arguments: dict[str, Any]
    """Of the SDK's `create`."""
    folder: Path


class _Started(msgspec.Struct, frozen=True):
    """A container that runs."""

    asked: _Asked
    created: docker.models.containers.Container
    container: Container
    evidence: records.Evidence


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of this host, if it is one of several that run a deployment together."""

    address: str = ""
    """At which others reach the ports of its containers; default: the engine's, or loopback."""
    owner: str = ""
    """Value of the label `ownership.OWNER`; default: a new one."""
    images: Mapping[str, Image] = {}
    """Images that are prepared already, by the name in the suite."""
    on_error: Callable[[BenchError], None] = lambda _: None
    """Called with what ends the deployment, before diagnostics are collected and anything is stopped."""


_ALONE = Host()


def new_owner(nonce: str) -> str:
    """A new value for the label `ownership.OWNER`, for one start of containers in the session `nonce`."""
    return f"{nonce[:12]}-{secrets.token_hex(6)}"


@contextmanager
def serve(
    plans: Sequence[ContainerPlan],
    *,
    suite: str,
    nonce: str,
    folder: Path,
    environ: Mapping[str, str] = os.environ,
    timeout_s: float,
    on_wait: Callable[[str], None] = lambda _: None,
    host: Host = _ALONE,
) -> Iterator[Containers]:
    """Start the containers of a suite and yield them when all are verified. They are removed at the end.

    `nonce` is that of the session. `folder`, which must exist, receives evidence, log, diagnostics and artifacts; a
    container with a role has a folder of its own in it. `timeout_s` limits the time from the start of the containers
    until the block begins. Raises `UsageError` for a variable, device or GPU that this host does not have, and
    `ContainerError` for everything else. Of an error in the block, `ContainerError` and others of this package get the
    ends of the logs.
    """
    plans = [
        msgspec.structs.replace(
            plan, artifacts=at_run(plan.artifacts, environ), diagnostics=at_run(plan.diagnostics, environ)
        )
        for plan in plans
    ]
    environments = [_environment(plan, environ) for plan in plans]
    owner = host.owner or new_owner(nonce)
    labels = {**Owner.here().labels(), OWNER: owner, f"{PREFIX}session": nonce}
    with connect(environ) as client:
        engine = describe(client, environ)
        require_possible(engine, plans, environ)
        with api_errors("containers of earlier sessions"):
            for name in remove_left_over(client):
                on_wait(f"removed {name}, which a killed session had left")
        asked = []
        images: dict[bytes, Image] = {}
        for plan, environment in zip(plans, environments, strict=True):
            # Roles often share an image, which may take minutes to load or build.
            key = msgspec.json.encode((plan.image, plan.build, plan.image_cache))
            if key not in images:
                images[key] = host.images.get(plan.image) or provide(client, plan, environ)
            image = images[key]
            arguments = creation(plan, environment.values, image.config, environ)
            if plan.network == "host" and plan.port is not None:
                require_free(plan.port)
            asked.append(_Asked(plan, environment, image, arguments, folder / plan.role))
        with watching(owner, folder / WATCHDOG_LOG) as watch:
            made = _Made()
            try:
                _create(client, asked, made, f"pytest-bench-{suite}", owner, labels)
                yield from _serve(client, engine, asked, made, nonce, timeout_s, on_wait, host)
            finally:
                with api_errors(f"the containers of suite {suite} could not be removed"):
                    made.remove()
                watch.stand_down()


class _Made:
    """What was created on the engine, to be removed."""

    def __init__(self) -> None:
        self.containers: list[docker.models.containers.Container] = []
        self.network: docker.models.networks.Network | None = None

    def remove(self) -> None:
        for each in self.containers:
            remove(each)
        if self.network is not None:
            remove_network(self.network)


def _environment(plan: ContainerPlan, environ: Mapping[str, str]) -> Environment:
    environment = resolve(plan, environ)
    confined = amd_environment(plan.devices, environment.values, environ)
    return Environment(
        values={**environment.values, **confined}, forwarded=(*environment.forwarded, *confined)
    )


def _create(
    client: docker.DockerClient,
    asked: Sequence[_Asked],
    made: _Made,
    prefix: str,
    owner: str,
    labels: Mapping[str, str],
) -> None:
    """Create the containers and, if several are on bridge networks, a network in which they find one another."""
    bridged = [each for each in asked if each.plan.network == "bridge"]
    if len(bridged) > 1:
        with api_errors("the network of the containers"):
            made.network = client.networks.create(f"{prefix}-{owner}", driver="bridge", labels=dict(labels))
    for each in asked:
        plan, arguments = each.plan, dict(each.arguments)
        name = "-".join(filter(None, (prefix, plan.role, owner)))
        if made.network is not None and plan.network == "bridge":
            del arguments["network_mode"]
            alias = client.api.create_endpoint_config(aliases=[plan.role])
            arguments |= {"network": made.network.name, "networking_config": {made.network.name: alias}}
        with api_errors(f"the container {name}"):
            made.containers.append(
                client.containers.create(each.image.id, name=name, labels=dict(labels), **arguments)
            )


def _serve(
    client: docker.DockerClient,
    engine: Engine,
    asked: Sequence[_Asked],
    made: _Made,
    nonce: str,
    timeout_s: float,
    on_wait: Callable[[str], None],
    host: Host,
) -> Iterator[Containers]:
    deadline = time.monotonic() + timeout_s
    started: list[_Started] = []
    try:
        for wanted, created in zip(asked, made.containers, strict=True):
            started.append(_start(client, engine, wanted, created, nonce))
        containers = Containers([each.container for each in started])
        for each in started:
            _verify(each, engine, host.address, containers, deadline, on_wait)
        yield containers
    except ContainerError as error:
        host.on_error(error)
        # The cause may be in another container.
        for each in started:
            each.container.diagnose()
        raise
    except BenchError as error:
        host.on_error(error)
        containers.require_running()
        names = ", ".join(each.name for each in containers.values())
        raise ContainerError(f"{error}\nStill running: {names}.{containers.story()}") from error
    finally:
        _conclude(started)


def _start(
    client: docker.DockerClient,
    engine: Engine,
    asked: _Asked,
    created: docker.models.containers.Container,
    nonce: str,
) -> _Started:
    with api_errors(f"the container {created.name} could not be started"):
        created.start()
        created.reload()
    asked.folder.mkdir(exist_ok=True)
    container = Container(client, created, asked.plan, asked.folder)
    return _Started(asked, created, container, _evidence(asked, engine, created, nonce))


def _verify(
    started: _Started,
    engine: Engine,
    address: str,
    containers: Containers,
    deadline: float,
    on_wait: Callable[[str], None],
) -> None:
    """Wait until a container is ready and verified, and write its evidence."""
    asked, container, evidence = started.asked, started.container, started.evidence
    config = container.attributes["Config"]
    differences = config_differences(
        config, asked.arguments, asked.environment, asked.image.config, engine.added_variables
    )
    container.require_no(differences)
    containers.require_running()
    evidence.published = container.published
    container.url = evidence.url = _url(started, engine, address)
    try:
        evidence.verified = container.await_serving(
            asked.environment, deadline, on_wait, containers.require_running
        )
    except ContainerEnded:
        containers.require_running()
        if asked.plan.critical:
            raise
    write_json(asked.folder / records.NAME, evidence)


def _conclude(started: Sequence[_Started]) -> None:
    """Stop the containers, all at once, copy their artifacts out, and write the evidence."""
    for each in started:
        each.evidence.ended_early = _has_ended(each.container)
    if started:
        with ThreadPoolExecutor(len(started)) as pool:
            problems = list(pool.map(_stop, started))
    for each, found in zip(started, problems if started else (), strict=True):
        evidence, folder = each.evidence, each.asked.folder
        evidence.log, evidence.log_proof = each.container.log.close(), each.container.proof
        evidence.artifacts = tuple(each.container.copy_artifacts(folder / ARTIFACTS, found))
        evidence.problems = tuple(found)
        write_json(folder / records.NAME, evidence)


def _has_ended(container: Container) -> bool:
    try:
        return container.how_it_ended() is not None
    except ContainerError:
        return True  # gone


def _stop(started: _Started) -> list[str]:
    """Stop a container and note in its evidence how it ended. Returns what could not be done."""
    try:
        started.created.stop(timeout=round(started.asked.plan.stop_timeout_s))
        state = started.container.state()
        started.evidence.ended = records.End(
            exit_code=int(state["ExitCode"]),
            out_of_memory=bool(state["OOMKilled"]),
            error=str(state["Error"]),
            started=str(state["StartedAt"]),
            finished=str(state["FinishedAt"]),
        )
    except (docker.errors.DockerException, ContainerError, LookupError) as error:
        return [f"the container could not be stopped: {error}"]
    return []


def _url(started: _Started, engine: Engine, address: str) -> str:
    """Where a container is reached; empty if it listens on no port. `address`: of its host, if it is known."""
    plan = started.asked.plan
    if plan.port is None:
        return ""
    host = _in_url(address) if address else _reached_at(plan, engine)
    if plan.network == "host":
        return f"http://{host}:{plan.port}"
    published = started.container.attributes["NetworkSettings"]["Ports"].get(f"{plan.port}/tcp")
    if not published:
        raise ContainerError(
            f"the engine has published no port for {plan.port}/tcp of {started.container.name}"
        )
    return f"http://{host}:{published[0]['HostPort']}"


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _reached_at(plan: ContainerPlan, engine: Engine) -> str:
    if engine.local and plan.network == "bridge" and plan.bind not in _ALL_ADDRESSES:
        return _in_url(plan.bind)
    return host_of(engine)


def _evidence(
    asked: _Asked, engine: Engine, created: docker.models.containers.Container, nonce: str
) -> records.Evidence:
    image, plan = asked.image, asked.plan
    host_config: Mapping[str, Any] = created.attrs["HostConfig"]
    return records.Evidence(
        nonce=nonce,
        name=str(created.name),
        role=plan.role,
        critical=plan.critical,
        engine=engine,
        image=records.ImageUsed(
            reference=image.reference,
            id=image.id,
            identity=image.identity.digest,
            layers=image.identity.layers,
            provenance=image.provenance,
        ),
        entrypoint=tuple(asked.arguments["entrypoint"]),
        command=tuple(asked.arguments["command"]),
        replaced_mounts=plan.replaced_mounts,
        environment=tuple(sorted(asked.environment.values)),
        forwarded=tuple(sorted(asked.environment.forwarded)),
        asked={
            name: value
            for name, value in sorted(host_config.items())
            if value not in (None, "", 0, False, [], {})
        },
    )
