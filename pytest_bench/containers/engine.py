"""The Docker engine that runs containers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import docker
import docker.errors
import msgspec
import requests
from docker.context import ContextAPI

from pytest_bench.errors import EndpointError

_TIMEOUT_S = 60.0


class ContainerError(EndpointError):
    """A container could not be started as asked, or it ended."""

    code = "container"


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about an engine, for the evidence."""

    address: str
    name: str
    """Docker Engine, or another engine with the same API."""
    version: str
    api_version: str
    storage_driver: str
    hostname: str
    kernel: str

    @property
    def is_local(self) -> bool:
        """Whether it is reached by a socket of this machine."""
        return self.address.startswith("unix:")


def address_of(environ: Mapping[str, str] = os.environ) -> str:
    """Address of the engine: `DOCKER_HOST`, or that of the Docker context. Raises `ContainerError`."""
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    name = environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except (docker.errors.DockerException, OSError, ValueError, KeyError) as error:
        raise ContainerError(f"the Docker context cannot be read: {error}") from error
    if context is None:
        raise ContainerError(f"the Docker context {name!r} does not exist: `docker context ls` lists them")
    return str(context.Host)


@contextmanager
def connect(environ: Mapping[str, str] = os.environ) -> Iterator[docker.DockerClient]:
    """Connect to the engine. Raises `ContainerError` if it does not answer."""
    address = address_of(environ)
    try:
        client = (
            docker.DockerClient.from_env(environment=dict(environ), timeout=_TIMEOUT_S)
            if environ.get("DOCKER_HOST")
            else docker.DockerClient(base_url=address, version="auto", timeout=_TIMEOUT_S)
        )
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ContainerError(
            f"the Docker engine at {address} does not answer: {error}. Next: start it, or name another with "
            "DOCKER_HOST or `docker context use`"
        ) from error
    try:
        yield client
    finally:
        client.close()


def describe(client: docker.DockerClient, environ: Mapping[str, str] = os.environ) -> Engine:
    """What the engine says about itself."""
    with api_errors("the engine's version"):
        version, info = client.version(), client.info()
    components = version.get("Components") or [{}]
    return Engine(
        address=address_of(environ),
        name=str(components[0].get("Name") or version.get("Platform", {}).get("Name") or "unknown"),
        version=str(version.get("Version", "unknown")),
        api_version=str(version.get("ApiVersion", "unknown")),
        storage_driver=str(info.get("Driver", "unknown")),
        hostname=str(info.get("Name", "unknown")),
        kernel=str(info.get("KernelVersion", "unknown")),
    )


def host_of(engine: Engine) -> str:
    """Where ports of the engine's host are reached."""
    if engine.is_local:
        return "127.0.0.1"
    host = urlsplit(engine.address).hostname
    if host is None:
        raise ContainerError(f"the engine's address {engine.address!r} names no host")
    return host


@contextmanager
def api_errors(what: str) -> Iterator[None]:
    """Convert errors of the SDK into `ContainerError`, which says that `what` failed, and why."""
    try:
        yield
    except docker.errors.APIError as error:
        raise ContainerError(f"{what}: the engine refused: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ContainerError(f"{what}: {error}") from error
