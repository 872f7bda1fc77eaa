"""The Docker engine that runs containers."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

import docker
import docker.errors
import msgspec
import requests
from docker.context import Context, ContextAPI

from pytest_bench.errors import EndpointError

Client = docker.DockerClient

_TIMEOUT_S = 60.0
_ADDED = {"Podman Engine": frozenset({"HOME", "HOSTNAME", "TERM", "container"})}
_SOCKETS = frozenset({"unix", "http+unix"})


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
    local: bool
    """Whether it runs on this machine: it is reached by a socket or a loopback address, and its host name is this
    machine's. A tunnel to another machine has that machine's name."""

    @property
    def added_variables(self) -> frozenset[str]:
        """Names of the variables that the engine gives every container, whatever it is asked for."""
        return _ADDED.get(self.name, frozenset())


def address_of(environ: Mapping[str, str] = os.environ) -> str:
    """Address of the engine: `DOCKER_HOST`, or that of the Docker context. Raises `ContainerError`."""
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    return str(_context_of(environ).Host)


def _context_of(environ: Mapping[str, str]) -> Context:
    name = environ.get("DOCKER_CONTEXT")
    try:
        context = ContextAPI.get_context(name)
    except (docker.errors.DockerException, OSError, ValueError, KeyError) as error:
        raise ContainerError(f"the Docker context cannot be read: {error}") from error
    if context is None:
        raise ContainerError(
            f"the Docker context {name!r} does not exist: `docker context ls` lists them. They are found beside a "
            "config.json, in $DOCKER_CONFIG or ~/.docker: if it is missing, write one that holds {}"
        )
    return context


@contextmanager
def connect(environ: Mapping[str, str] = os.environ) -> Iterator[docker.DockerClient]:
    """Connect to the engine. Raises `ContainerError` if it does not answer."""
    address = address_of(environ)
    try:
        client = (
            docker.DockerClient.from_env(environment=dict(environ), timeout=_TIMEOUT_S)
            if environ.get("DOCKER_HOST")
            else docker.DockerClient(
                base_url=address,
                version="auto",
                timeout=_TIMEOUT_S,
                tls=_context_of(environ).TLSConfig or False,
            )
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
    address, hostname = address_of(environ), str(info.get("Name", "unknown"))
    return Engine(
        address=address,
        local=_is_local(address, hostname),
        name=str(components[0].get("Name") or version.get("Platform", {}).get("Name") or "unknown"),
        version=str(version.get("Version", "unknown")),
        api_version=str(version.get("ApiVersion", "unknown")),
        storage_driver=str(info.get("Driver", "unknown")),
        hostname=hostname,
        kernel=str(info.get("KernelVersion", "unknown")),
    )


def host_of(engine: Engine) -> str:
    """Where ports of the engine's host are reached. Raises `ContainerError` if its address does not say."""
    if engine.local:
        return "127.0.0.1"
    host = urlsplit(engine.address).hostname
    if host is None or is_loopback(host):
        raise ContainerError(
            f"the engine behind {engine.address} runs on {engine.hostname!r}, and this machine is {platform.node()!r}: "
            "the address is a tunnel or a mounted socket, which does not say where ports of its containers are "
            f"reached. Next: name the engine by its own address, such as DOCKER_HOST=tcp://{engine.hostname}:2376"
        )
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether a name or an address is of the loopback interface."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_local(address: str, hostname: str) -> bool:
    parts = urlsplit(address)
    on_socket = parts.scheme in _SOCKETS
    if sys.platform != "linux":
        return on_socket  # the engine runs in a virtual machine of this machine, with a name of its own
    return (on_socket or is_loopback(parts.hostname or "")) and hostname == platform.node()


@contextmanager
def api_errors(what: str) -> Iterator[None]:
    """Convert errors of the SDK into `ContainerError`, which says that `what` failed, and why."""
    try:
        yield
    except docker.errors.APIError as error:
        raise ContainerError(f"{what}: the engine refused: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise ContainerError(f"{what}: {error}") from error
