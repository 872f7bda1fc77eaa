"""The schema of a deployment's container, with every default."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from pytest_bench.suite.section import (
    Seconds,
    SecretSection,
    Section,
    Text,
    Texts,
    UrlPath,
    VariableName,
    text_or_secret,
    unique,
)

_SIZE = re.compile(r"([1-9][0-9]*)\s*(B|KiB|MiB|GiB|TiB)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_FORWARD = r"^(preset:[a-z0-9-]+|[A-Za-z_][A-Za-z0-9_]*)$"


def _bytes(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("size", "expected a number of bytes, or a size such as '16 GiB'")
    return int(match[1]) * _UNITS[match[2]]


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul", "expected text without the character NUL")
    return value


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise PydanticCustomError(
            "pattern", "expected a regular expression: {why}", {"why": str(error)}
        ) from error
    return value


Word = Annotated[str, AfterValidator(_no_nul)]
Words = Annotated[list[Word], Field(min_length=1)]
Size = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str), Field(gt=0, le=2**60)]
Value = Annotated[
    Annotated[Word, Tag("text")] | Annotated[SecretSection, Tag("secret")], Discriminator(text_or_secret)
]
PerRequest = Annotated[float, Field(ge=0, le=10**9)]
Port = Annotated[int, Field(gt=0, lt=65536)]
Limit = Annotated[int, Field(ge=-1, le=2**62)]
Pattern = Annotated[Text, AfterValidator(_regular_expression)]


class BuildSection(Section):
    """How the image is built, with `docker build`."""

    context: Text
    """Folder that is sent to the engine, relative to this file."""
    dockerfile: Text | None = None
    """Relative to this file. Left out: `Dockerfile` in the context."""
    arguments: dict[VariableName, Word] = Field(default_factory=dict)
    """Build arguments. They can be read from the image, so they must not hold a secret."""
    target: Text | None = None
    """Stage to build."""
    contexts: dict[Text, Text] = Field(default_factory=dict)
    """Further contexts by name (`--build-context`, which needs `docker buildx`): folders relative to this file, or URLs
    such as `docker-image://…`."""
    local: bool = True
    """Build before pulling. false: a registry has the image, and it is built only if it cannot be pulled."""


class ManifestSection(Section):
    """A `build_manifest.json` of madengine's, which fills what this container leaves out."""

    path: Text
    """The file, relative to this one."""
    image: Text | None = None
    """Key of `built_images`. Left out: the only one."""


class MountSection(Section):
    """A folder or file of the host, or an empty file system in memory, at a path of the container."""

    target: Text
    """Absolute path in the container."""
    source: Text | None = None
    """Path on the host, relative to this file; it must exist. Left out: an empty file system in memory (tmpfs)."""
    read_only: bool = False
    size: Size | None = None
    """Size of a tmpfs, as a number of bytes or a text such as `1 GiB`."""


class UlimitSection(Section):
    """A limit of the kernel's on the container's processes. -1: no limit."""

    soft: Limit
    hard: Limit


class ReadinessSection(Section):
    """What the server must show in addition to the answer of its endpoint."""

    log_pattern: Pattern | None = None
    """Regular expression that a line of the log must match."""
    healthcheck: bool = False
    """The image's own health check must succeed."""


class CanarySection(Section):
    """A request that makes this server log a warning."""

    path: UrlPath
    body: dict[str, Any]
    """JSON of the request, which is sent with POST. The answer may be an error."""
    pattern: Pattern
    """Regular expression that matches the warning. Exactly one line must match."""


class LogBudgetSection(Section):
    """The most that the server may log during a point. A point with more fails."""

    lines_per_request: PerRequest | None = None
    bytes_per_request: PerRequest | None = None
    classes: dict[Literal["access", "debug", "info", "warning", "error", "benign", "other"], PerRequest] = (
        Field(default_factory=dict)
    )
    """Lines for each request, by class. `error` includes tracebacks; `benign`, those that match `benign`."""


class LogSection(Section):
    """How quiet the server is to be, and how that is verified."""

    engine: Text | None = None
    """Whose `controls` are meant: `vllm`, `sglang` or `atom`."""
    controls: dict[Text, Text] = Field(default_factory=dict)
    """Settings of the engine, such as `access_log: "off"`. They become variables and arguments, which are verified like
    others. If one is to silence a class of lines, requests are sent before the first point, and none may log such a
    line."""
    canary: CanarySection | None = None
    """Proves that warnings still appear. Left out: the evidence says that they were not proven to."""
    benign: list[Pattern] = Field(default_factory=list)
    """Regular expressions. A traceback in which one matches counts as `benign`, all its lines included."""
    failures: list[Pattern] = Field(default_factory=list)
    """Regular expressions. A point fails if a line that the server logs meanwhile matches one, unless it is part of a
    benign traceback."""
    budget: LogBudgetSection = LogBudgetSection()
    baseline_lines_per_request: PerRequest | None = None
    """Lines for each request without the controls; the evidence then says by how much they reduce the log."""


class _AnyContainer(Section):
    """What every container may have."""

    image: Text | None = None
    """Reference, or id of a local image; the container is started by the image's id. Left out: the manifest's."""
    manifest: ManifestSection | None = None
    """Fills image, environment, mounts, build arguments and GPUs. What this container sets itself is not replaced."""
    build: BuildSection | None = None
    """How the image is built under this name, unless the cache has it from the same build."""
    image_cache: Text | None = None
    """Folder, relative to this file, in which images are kept as files for several nodes. An image is taken from it if
    it is there, and saved there otherwise."""
    entrypoint: Words | None = None
    """Left out: the image's."""
    command: Words | None = None
    """Program and its arguments, one item each; no shell splits it. Left out: the image's."""
    arguments: list[Word] = Field(default_factory=list)
    """Arguments of the server, appended to the command. The command line of the serving process must hold them."""
    environment: dict[VariableName, Value] = Field(default_factory=dict)
    """Variables, which the serving process must have with exactly these values. Nothing is inherited from the caller.
    A secret is given as `{from_env: NAME}`."""
    forward: list[Annotated[str, Field(pattern=_FORWARD)]] = Field(default_factory=list)
    """Variables of the host to pass on: names, which must be set, and presets such as `preset:vllm-disagg`, of which
    those that are set are passed on."""
    required: list[VariableName] = Field(default_factory=list)
    """Variables without which the container is not started."""
    mounts: list[MountSection] = Field(default_factory=list)
    ports: Annotated[list[Port], AfterValidator(unique)] = Field(default_factory=list)
    """Further ports of the container that the engine publishes, each at a free port of the host; for `bridge` only."""
    network: Literal["bridge", "host"] = "bridge"
    """`bridge`: the engine publishes `port` at a free port of the host. `host`: the server uses the host's network, and
    `port` must be free."""
    bind: Text = "127.0.0.1"
    """Address of the host at which the port is published."""
    ipc: Text | None = None
    """IPC namespace, such as `host` or `private`."""
    shm_size: Size | None = None
    """Size of /dev/shm, as a number of bytes or a text such as `16 GiB`."""
    ulimits: dict[Text, UlimitSection] = Field(default_factory=dict)
    """By name: `memlock`, `nofile`, `stack`."""
    cap_add: Texts | None = None
    privileged: bool = False
    group_add: Texts | None = None
    security_opt: Texts | None = None
    devices: Texts | None = None
    """Device nodes of the host, such as `/dev/kfd` or `/dev/infiniband/*`. Each must match something."""
    gpus: Literal["all"] | Texts | None = None
    """NVIDIA GPUs: `all`, or indices or UUIDs. In a Slurm allocation only its own GPUs can be asked for, and `all`
    means those."""
    user: Text | None = None
    workdir: Text | None = None
    runtime: Literal["docker"] = "docker"
    setup: list[Words] = Field(default_factory=list)
    """Commands that run in the container before the server. One that fails stops the start. Needs `sh` in the image."""
    artifacts: Texts | None = None
    """Files to copy out of the container, after each point and in every outcome when it ends: absolute paths, `*` and
    `?` in file names, or a preset such as `preset:madengine`."""
    diagnostics: Texts | None = None
    """Files whose ends are kept in `diagnostics.json` if something fails, in addition to `artifacts`; patterns and
    presets as there."""
    readiness: ReadinessSection = ReadinessSection()
    log: LogSection = LogSection()
    no_progress_s: Seconds | None = None
    """End a phase if no request makes progress for so long while some are in flight. A request makes progress when it
    ends, or when a content event of its stream arrives. Left out: no limit."""
    stop_timeout_s: Seconds = 10
    """How long the server may take to end after SIGTERM, before it is killed."""

    def given(self, name: str) -> Any:
        """A list that may be left out, as a tuple."""
        return tuple(getattr(self, name) or ())


class ContainerSection(_AnyContainer):
    """A container that serves the model: started for the deployment, verified, and removed after its last point."""

    port: Port = 8000
    """Port on which the server listens in the container."""


class RoleSection(_AnyContainer):
    """One of several containers of a deployment, such as the proxy or a prefill server."""

    port: Port | None = None
    """Port on which it listens in the container. Left out: it listens on none; process 1 is verified."""
    serves: bool = False
    """Whether requests are sent to this container. Exactly one of a deployment must serve."""
    critical: bool = True
    """The deployment ends when this container ends, and points become errors. false: its end is recorded only."""
    rank: Annotated[int, Field(ge=0, lt=4096)] = 0
    """The node on which it runs, from 0, in a deployment on several `nodes`. Several roles may share a node."""
