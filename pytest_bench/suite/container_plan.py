"""The container of a deployment, with all defaults filled in."""

from __future__ import annotations

from typing import Literal

import msgspec

from pytest_bench.suite.secret import Secret


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """Something mounted into the container."""

    target: str
    """Absolute path in the container, normalised."""
    source: str | None = None
    """Absolute path on the host; None: an empty file system in memory (tmpfs)."""
    read_only: bool = False
    size_bytes: int | None = None
    """Size of a tmpfs; None: the kernel's default."""


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """How the image is built."""

    context: str
    """Absolute path of the folder."""
    dockerfile: str | None = None
    """Absolute path; None: `Dockerfile` in the context."""
    arguments: dict[str, str] = {}
    target: str | None = None


class Ulimit(msgspec.Struct, frozen=True, kw_only=True):
    soft: int
    hard: int


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What must be true in addition to the endpoint's answer."""

    log_pattern: str | None = None
    """A regular expression that a line of the log must match."""
    healthcheck: bool = False
    """The image's own health check must succeed."""


class ContainerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A container that is started for the deployment."""

    image: str
    """A reference, or the id of a local image."""
    build: Build | None = None
    entrypoint: tuple[str, ...] | None = None
    """None: the image's."""
    command: tuple[str, ...] = ()
    """Empty: the image's."""
    arguments: tuple[str, ...] = ()
    """Arguments of the server, which follow the command and must arrive at the serving process."""
    environment: dict[str, str | Secret] = {}
    forward: tuple[str, ...] = ()
    """Names that must be set on the host."""
    forward_if_set: tuple[str, ...] = ()
    """Names of presets, forwarded if they are set."""
    required: tuple[str, ...] = ()
    """Names that the environment must hold."""
    mounts: tuple[Mount, ...] = ()
    port: int = 8000
    network: Literal["bridge", "host"] = "bridge"
    bind: str = "127.0.0.1"
    """Address of the host at which the port is published."""
    ipc: str | None = None
    shm_size_bytes: int | None = None
    ulimits: dict[str, Ulimit] = {}
    cap_add: tuple[str, ...] = ()
    privileged: bool = False
    group_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    """Device nodes, or patterns of them."""
    gpus: tuple[str, ...] | Literal["all"] | None = None
    user: str | None = None
    workdir: str | None = None
    runtime: Literal["docker"] = "docker"
    setup: tuple[tuple[str, ...], ...] = ()
    """Commands that run in the container before the server."""
    artifacts: tuple[str, ...] = ()
    """Patterns of files that are copied out of the container."""
    readiness: Readiness = Readiness()
    stop_timeout_s: float = 10.0
    """How long the server may take to end after SIGTERM."""
