"""The plan: every point that the suites declare, with all defaults filled in, made before anything starts."""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from pytest_bench.bounds import Bound
from pytest_bench.files import digest
from pytest_bench.labels import Label
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.secret import Secret as Secret  # noqa: PLC0414 # part of the plan's interface
from pytest_bench.workload import MAX_RESPONSE_BYTES, HealthBudget, Load, SampleOrder, TextPolicy, Timeouts

PLAN_VERSION = 2

Kind = Literal["perf", "audit", "eval"]


class TokensPlan(msgspec.Struct, frozen=True, kw_only=True):
    tokenizer: str | None = None
    """A folder, a `tokenizer.json`, or a hub id; None: the one that `model` names on this machine, if any."""
    count: Literal["auto", "tokenizer", "usage"] = "auto"
    """Whose count the metrics use (`metrics.token_source`)."""
    backend: Literal["auto", "tokenizers", "fastokens"] = "auto"
    live_workers: int = 0
    counting_timeout_s: float = 0.0
    """0 means no limit."""
    warmup_timeout_s: float = 25.0


class NodesPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of a deployment whose containers run on several."""

    count: int
    join_timeout_s: float = 300.0
    build_timeout_s: float = 3600.0
    load_timeout_s: float = 1800.0


class DeploymentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The system under test of one suite, with the command line's overrides applied."""

    suite: str
    api: str
    """Name of the API."""
    api_reference: str
    """Its import reference, `module:attribute`."""
    model: str
    endpoints: tuple[str, ...]
    """URLs, or the single word `simulator`. Empty if a container serves."""
    containers: tuple[ContainerPlan, ...] = ()
    """The containers that are started, one of which serves. Empty if the endpoints exist already."""
    nodes: NodesPlan | UnsetType = UNSET
    """The nodes that the containers run on; unset: on one host."""
    simulator: dict[str, Any] = {}
    """Behaviour of the simulator, if it is the endpoint."""
    answers_contents: str | UnsetType = UNSET
    """sha256 of the file that the simulator answers from, if it does."""
    simulator_from_command_line: bool = False
    path: str | None = None
    """Path of the API's requests below the endpoint, instead of the API's own."""
    query: dict[str, str | Secret] = {}
    """Parameters that every URL of the endpoint carries."""
    labels: dict[str, str | int | float | bool] = {}
    """What serves the model, for result files."""
    check_model: bool = True
    """Whether `model` must be one that the server lists."""
    probe: str | None = None
    """Path of the readiness probe; None for the default probes."""
    ready_timeout_s: float = 60.0
    headers: dict[str, str | Secret] = {}
    api_key: Secret | None = None
    stream: bool = True
    video_seconds: float | None = None
    """Length of a video if neither row nor parameters state it; None: the API delivers no videos."""
    parameters: dict[str, Any] = {}
    tokens: TokensPlan = TokensPlan()
    cache_reset: str | None = None
    """Path that empties the server's caches (POST); None if it has none."""
    poll_interval_s: float = 1.0
    """Interval between polls of a job, and upper bound on the error of its latency."""
    metrics_path: str | None = "/metrics"
    """Path of the server's own metrics, read before and after each phase; None: not read."""
    metrics_interval_s: float | None = None
    """Interval at which they are also read during a phase; None: not read then."""
    overridden: tuple[str, ...] | UnsetType = UNSET
    """Settings in which this deployment of a suite's evals differs from that of its other points, if it is one."""
    origin: str = ""

    @property
    def container(self) -> ContainerPlan | None:
        """The container that serves; None if the endpoints exist already."""
        return next((plan for plan in self.containers if plan.serves), None)

    @property
    def tokenizer_model(self) -> str | None:
        """The model whose tokenizer is looked for, because none is named; None if none is wanted."""
        wanted = self.tokens.tokenizer is None and self.tokens.count != "usage" and self.video_seconds is None
        return self.model if wanted else None


class DatasetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset of a suite. Exactly one of `path` and `synthetic` is set."""

    name: str
    path: str | None = None
    """Absolute."""
    format: Literal["jsonl", "json", "csv", "sharegpt", "parquet"] | None = None
    columns: dict[str, str] = {}
    """API column -> column of the file."""
    skip_bad: bool = False
    """Leave out rows that cannot be used, and count them."""
    synthetic: dict[str, Any] | None = None
    contents: str | None = None
    """sha256 of the file at `path`, or of the trace in `synthetic`. None if there is neither, or it could not be
    read."""
    origin: str = ""


class Warmup(msgspec.Struct, frozen=True, kw_only=True):
    load: Load
    samples: Literal["own", "salted"] = "own"
    """`own`: samples that no measured phase uses. `salted`: salted copies. Neither primes a cache."""
    handover: Literal["overlap", "drain"] = "overlap"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured and judged: one pytest item."""

    id: str
    """`suite/kind/name`: stable, unique, and safe as a path."""
    suite: str
    kind: Kind
    name: str
    origin: str
    """`file:line:column` of its declaration."""
    dataset: str | None
    load: Load | None
    samples: SampleOrder | None = None
    """`count` is 0 until the dataset is loaded, because a plan reads no rows."""
    warmup: Warmup | None = None
    timeouts: Timeouts = Timeouts()
    budget: HealthBudget = HealthBudget()
    max_response_bytes: int = MAX_RESPONSE_BYTES
    bounds: tuple[Bound, ...] = ()
    slo: tuple[Bound, ...] = ()
    """Limits of each request, which goodput uses."""
    texts: TextPolicy = "keep"
    workers: int | None = None
    arrival_seed: int = 0
    minimum_duration_s: float | None = None
    """A shorter result is labelled `unofficial`. `load` lasts at least this long, unless its count is fixed."""
    unofficial: bool = False
    """Label the result `unofficial`, whatever its duration."""
    labels: tuple[str, ...] = ()
    """`shortened`: `--duration-scale` changed a duration of this point. `requests-overridden`: `--requests` changed a
    count."""
    sweep: dict[str, int | float | str] = {}
    """Values this point takes from its sweep."""
    options: dict[str, Any] = {}
    """Fields of this kind of point only: an audit's test and fields, an eval's task."""
    deployment: str | UnsetType = UNSET
    """Name of its deployment in the plan; unset: that of the suite."""

    @property
    def deployment_name(self) -> str:
        """Name of its deployment in the plan."""
        return self.deployment or self.suite

    @property
    def needs_endpoint(self) -> bool:
        """Whether it needs a server that answers. A tool that starts its own server does not."""
        return self.options.get("needs_endpoint") is not False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All points of a session, in the order of execution."""

    version: int = PLAN_VERSION
    deployments: dict[str, DeploymentPlan]
    """By name: that of the suite, or `<suite>.eval` if its evals have a deployment of their own."""
    datasets: dict[str, dict[str, DatasetPlan]]
    """By suite, then name."""
    points: tuple[Point, ...]
    files: dict[str, str] = {}
    """sha256 of each suite file, by path relative to the working folder."""
    duration_scale: float = 1.0
    """The factor of `--duration-scale`, already applied to the points."""
    root: str = ""
    """Absolute; origins of points are relative to it."""

    def digest(self) -> str:
        """sha256 of the points in their order."""
        return digest([self.version, *([point.id, self.point_digest(point)] for point in self.points)])

    def point_digest(self, point: Point) -> str:
        """sha256 of everything in the plan that the point's measurement depends on.

        It is the same for the same declarations, command line and data, in every session, in every checkout, and
        whatever the lines of the declarations.
        """
        deployment = self.deployment_of(point)
        bare = [
            msgspec.structs.replace(
                point, origin="", bounds=_without_origins(point.bounds), slo=_without_origins(point.slo)
            ),
            msgspec.structs.replace(
                deployment, origin="", simulator_from_command_line=False, ready_timeout_s=0.0
            ),
            [msgspec.structs.replace(dataset, origin="") for dataset in self.datasets_of(point)],
            self.duration_scale,
        ]
        return digest(self._relocatable(msgspec.to_builtins(bare), self.folder(point.suite)))

    def deployment_of(self, point: Point) -> DeploymentPlan:
        """The system that the point measures."""
        return self.deployments[point.deployment_name]

    def needs_endpoint(self, deployment: str) -> bool:
        """Whether a point of the deployment of this name needs a server that answers."""
        return any(point.needs_endpoint for point in self.points if point.deployment_name == deployment)

    def datasets_of(self, point: Point) -> list[DatasetPlan]:
        """The datasets that the point reads: its own, and those that its options name."""
        datasets = self.datasets.get(point.suite, {})
        return [datasets[name] for name in sorted(datasets.keys() & {point.dataset, *_texts(point.options)})]

    def folder(self, suite: str) -> str:
        """The absolute folder of the suite's file."""
        file = self.deployments[suite].origin.rpartition(":")[0].rpartition(":")[0]
        return os.path.normpath(os.path.join(self.root, os.path.dirname(file)))  # noqa: PTH118, PTH120 # text in, text out

    def _relocatable(self, value: Any, folder: str) -> Any:
        """`value` with paths inside the checkout made relative to the suite's folder."""
        match value:
            case dict():
                return {name: self._relocatable(part, folder) for name, part in value.items()}
            case list() | tuple():
                return [self._relocatable(part, folder) for part in value]
            case str() if self.root and (value + "/").startswith((self.root + "/", folder + "/")):
                return os.path.relpath(value, folder)
        return value

    def unscaled(self, point: Point) -> str:
        """A note that `--duration-scale` changed nothing in `point`; empty if it did, or was not given."""
        if self.duration_scale == 1.0 or Label.SHORTENED in point.labels:
            return ""
        return (
            f"--duration-scale {self.duration_scale:g} changed nothing: the point declares no duration; "
            "--requests overrides its count"
        )

    def point(self, point_id: str) -> Point:
        """The point of this id. Raises `KeyError`."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)


def _without_origins(bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
    return tuple(msgspec.structs.replace(bound, origin="") for bound in bounds)


def _texts(value: Any) -> Iterator[str]:
    """Every text in nested mappings and lists."""
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list() | tuple():
            for part in value:
                yield from _texts(part)
