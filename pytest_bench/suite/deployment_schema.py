"""The schema of a suite's deployment, with every default."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from pytest_bench.suite.container_schema import ContainerSection, RoleSection
from pytest_bench.suite.section import (
    Count,
    Name,
    Seconds,
    SecondsOrNone,
    SecretSection,
    Section,
    SuiteName,
    Text,
    Texts,
    UrlPath,
    text_or_secret,
    unique,
)


def _one_or_many(value: object) -> object:
    if not isinstance(value, str | list):
        raise PydanticCustomError("shape", "expected a URL, a list of URLs, or 'simulator'")
    return [value] if isinstance(value, str) else value


def _reset_path(value: object) -> object:
    if value is not None and not (isinstance(value, str) and value.startswith("/")):
        raise PydanticCustomError(
            "reset", "expected a path that begins with '/', for a POST; a server cannot be restarted instead"
        )
    return value


class TokensSection(Section):
    """How texts are counted."""

    tokenizer: Text | None = None
    """A folder, a `tokenizer.json`, or a hub id. Left out: the one that `model` names on this machine, if any."""
    count: Literal["auto", "tokenizer", "usage"] = "auto"
    """Whose count the metrics use: the tokenizer's, or the server's `usage`. `auto`: the tokenizer's if there is one,
    but usage for outputs under `ignore_eos`."""
    backend: Literal["auto", "tokenizers", "fastokens"] = "auto"
    """`auto` uses the fast back end if it proves equal."""
    live_workers: Annotated[int, Field(ge=0)] = 0
    """Pool workers that count while load runs; 0 counts afterwards."""
    counting_timeout_s: SecondsOrNone = 0
    """How long counting may take after a phase; 0 means no limit."""
    warmup_timeout_s: Seconds = 25
    """How long loading the tokenizer may take."""


class GenerationSection(Section):
    """Parameters of every request. The server decides on those that are left out."""

    stream: bool | None = None
    """Ask for streams. Left out: if the API can stream."""
    max_tokens: Count | None = None
    """Most output tokens of one response."""
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: Texts | None = None
    """Texts that end the output."""
    ignore_eos: bool | None = None
    """Ignore the end-of-sequence token and generate `max_tokens` tokens, for comparable output lengths."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request body, under the server's names."""


Header = Annotated[
    Annotated[str, Tag("text")] | Annotated[SecretSection, Tag("secret")], Discriminator(text_or_secret)
]


class NodesSection(Section):
    """Several nodes of a Slurm allocation, on which the `containers` of one deployment run together."""

    count: Annotated[int, Field(ge=2, le=4096)]
    """How many nodes. Each runs the containers whose `rank` is its number."""
    join_timeout_s: Seconds = 300
    """How long the nodes may take to find one another."""
    build_timeout_s: Seconds = 3600
    """With an `image_cache`: how long one node may take to build or pull an image and to save it there."""
    load_timeout_s: Seconds = 1800
    """How long the nodes may take until each of them has an image: to load it from the cache, or, without one, to build
    or pull it."""


class DeploymentSection(Section):
    """The system under test."""

    api: Text
    """Name of the API that writes requests and reads responses."""
    model: Text
    """Name of the served model, as requests carry it."""
    endpoint: Annotated[
        list[str],
        BeforeValidator(_one_or_many, json_schema_input_type=str | list[str]),
        AfterValidator(unique),
    ] = Field(default_factory=lambda: [""], min_length=1)
    """A URL, a list of URLs (replicas), or `simulator`. If empty, `--endpoint` must name one, unless a `container`
    serves."""
    container: ContainerSection | None = None
    """A container that is started to serve, unless `--endpoint` names a server that is already there."""
    containers: dict[SuiteName, RoleSection] = Field(default_factory=dict)
    """Several containers instead, by role, such as `proxy`, `prefill` and `decode`. On one host, those on bridge
    networks reach one another by the names of their roles."""
    nodes: NodesSection | None = None
    """Run the `containers` on several nodes. `{address.ROLE}` in their commands, arguments and variables is the address
    of the node of ROLE. Left out: on one host."""
    path: UrlPath | None = None
    """Path of the requests below the endpoint, for servers that have their own. Left out: the API's."""
    query: dict[Text, Header] = Field(default_factory=dict)
    """Parameters of every URL, such as `api-version`. One that holds a key must be given as `{from_env: NAME}`."""
    labels: dict[Name, str | int | float | bool] = Field(default_factory=dict)
    """What serves the model, for the result files of evals: `hw`, `framework`, `precision`, `tp`, `ep`, `isl`, …"""
    check_model: bool = True
    """Compare `model` with the names that the server lists; false for servers that also accept other names, or list
    none before a request loads one."""
    tokens: TokensSection = TokensSection()
    generation: GenerationSection = GenerationSection()
    simulator: dict[str, Any] = Field(default_factory=dict)
    """Behaviour of the simulator, if it is the endpoint."""
    probe: UrlPath | None = None
    """Path that answers 200 once the server is ready. Left out: /health, /v1/models, then a one-token request."""
    ready_timeout_s: Seconds = 60
    """How long to wait for the server to become ready."""
    headers: dict[str, Header] = Field(default_factory=dict)
    """Headers of every request. A header with a key must be given as `{from_env: NAME}`."""
    api_key: SecretSection | None = None
    """Sent as `Authorization: Bearer …`."""
    cache_reset: Annotated[UrlPath | None, BeforeValidator(_reset_path)] = None
    """Path that empties the server's caches on a POST."""
    poll_interval_s: Seconds = 1.0
    """APIs that answer with a job: interval between polls. A latency may be too high by up to one interval."""
    metrics_path: UrlPath | None = "/metrics"
    """Path of the server's own metrics, read before and after each phase; null reads none."""
    metrics_interval_s: Annotated[float, Field(ge=0.1, le=10**9)] | None = None
    """Also read them during each phase, at this interval."""
