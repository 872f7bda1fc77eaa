"""The container of a deployment, with all defaults filled in."""

from __future__ import annotations

from typing import Any, Literal

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
    contexts: dict[str, str] = {}
    """Further contexts by name: absolute paths, or what else `docker buildx build --build-context` takes."""
    local: bool = True
    """Whether the image is made here, so that a build comes before a pull."""


class Ulimit(msgspec.Struct, frozen=True, kw_only=True):
    soft: int
    hard: int


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What must be true in addition to the endpoint's answer."""

    log_pattern: str | None = None
    """A regular expression that a line of the log must match."""
    healthcheck: bool = False
    """The image's own health check must succeed."""


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """A request that makes the server warn."""

    path: str
    body: dict[str, Any]
    pattern: str
    """A regular expression that matches the warning, which must appear exactly once."""


class LogBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a server may write to its log during a point, for each request."""

    lines_per_request: float | None = None
    bytes_per_request: float | None = None
    classes: dict[str, float] = {}
    """Lines for each request, by class of line."""


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What the log of the server is expected to be."""

    engine: str | None = None
    controls: dict[str, str] = {}
    """Values by name. Their variables and arguments are already part of the container's."""
    silenced: tuple[str, ...] = ()
    """Classes of lines that the controls silence."""
    canary: Canary | None = None
    benign: tuple[str, ...] = ()
    """Patterns of tracebacks that do no harm."""
    failures: tuple[str, ...] = ()
    """Patterns of lines, outside of those tracebacks, with which a point fails."""
    budget: LogBudget = LogBudget()
    baseline_lines_per_request: float | None = None


class ManifestUsed(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest contributed to a container."""

    image: str
    """Key of the image in the manifest."""
    filled: tuple[str, ...] = ()
    """Keys that it set, such as `docker_env_vars.MODEL`."""
    unresolved: dict[str, str] = {}
    """Keys that were left out because a placeholder has no value, with the reason."""
    not_used: tuple[str, ...] = ()
    """What it holds that has no effect here: keys of its context, and options of `docker run`."""


class ContainerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A container that is started for the deployment."""

    role: str = ""
    """What it does in a deployment of several containers; empty: it is the only one."""
    critical: bool = True
    """Whether its end is the end of the deployment."""
    serves: bool = True
    """Whether it has the endpoint. Exactly one container of a deployment has."""
    image: str
    """A reference, or the id of a local image."""
    build: Build | None = None
    image_cache: str | None = None
    """Absolute path of the folder in which images are kept as files; None: they are not."""
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
    manifest: ManifestUsed | None = None
    replaced_mounts: tuple[str, ...] = ()
    """Which mounts of a manifest's context the model's own have replaced (`mounts.merged_for_model`)."""
    port: int | None = 8000
    """None: it listens on none."""
    ports: tuple[int, ...] = ()
    """Further ports that are published, on a bridge network."""
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
    diagnostics: tuple[str, ...] = ()
    """Patterns of files whose ends are kept if something fails."""
    readiness: Readiness = Readiness()
    log: LogPlan = LogPlan()
    no_progress_s: float | None = None
    """How long no request may make progress while some are in flight; None: no limit."""
    stop_timeout_s: float = 10.0
    """How long the server may take to end after SIGTERM."""

    @property
    def place(self) -> str:
        """Where the suite declares it."""
        return f"deployment.containers.{self.role}" if self.role else "deployment.container"
