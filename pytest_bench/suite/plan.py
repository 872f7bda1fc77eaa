"""The plan: every point the suites ask for, with all defaults filled in, before anything starts."""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from pytest_bench.bounds import Bound
from pytest_bench.files import digest
from pytest_bench.workload import HealthBudget, Load, SampleOrder, TextPolicy, Timeouts

PLAN_VERSION = 1

Kind = Literal["perf", "audit", "eval"]


class Secret(msgspec.Struct, frozen=True, kw_only=True, tag="from_env", tag_field="kind"):
    """A value that is read from the environment where it is used, and never written anywhere."""

    from_env: str


class TokensPlan(msgspec.Struct, frozen=True, kw_only=True):
    tokenizer: str | None = None
    """A folder, a `tokenizer.json`, or a hub id; None: token metrics are null, and say so."""
    backend: Literal["auto", "tokenizers", "fastokens"] = "auto"
    live_workers: int = 0
    counting_timeout_s: float = 0.0
    """0: no limit."""
    warmup_timeout_s: float = 25.0


class DeploymentPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The system under test of one suite, command-line overrides applied."""

    suite: str
    api: str
    """Name of the API."""
    api_reference: str
    """Its import reference, `module:attribute`."""
    model: str
    endpoints: tuple[str, ...]
    """URLs, or the single word `simulator`."""
    simulator: dict[str, Any] = {}
    """Behaviour of the simulator, where it is the endpoint."""
    simulator_from_command_line: bool = False
    probe: str | None = None
    """Path of the readiness probe, where the suite declares one."""
    ready_timeout_s: float = 60.0
    headers: dict[str, str | Secret] = {}
    api_key: Secret | None = None
    stream: bool = True
    video_seconds: float | None = None
    """Length of a video of which neither row nor parameters say it; None: the API delivers no videos."""
    parameters: dict[str, Any] = {}
    tokens: TokensPlan = TokensPlan()
    cache_reset: str | None = None
    """Path that empties the server's caches (POST), where it has one."""
    poll_interval_s: float = 1.0
    """How long to wait before asking again for a job; the bound on the error of its latency."""
    metrics_path: str | None = "/metrics"
    """Where the server's own metrics are read before and after each phase; None: not read."""
    metrics_interval_s: float | None = None
    """How often they are read during a phase, too; None: not."""
    origin: str = ""


class DatasetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One dataset of a suite. Exactly one of `path` and `synthetic` is set."""

    name: str
    path: str | None = None
    """Absolute."""
    format: Literal["jsonl", "json", "csv", "sharegpt", "parquet"] | None = None
    columns: dict[str, str] = {}
    """API column -> column of the file."""
    synthetic: dict[str, Any] | None = None
    contents: str | None = None
    """sha256 of the file at `path`, or of the trace in `synthetic`; None: it names neither, or one that was not
    there to be read."""
    origin: str = ""


class Warmup(msgspec.Struct, frozen=True, kw_only=True):
    load: Load
    samples: Literal["own", "salted"] = "own"
    """Samples no measured phase uses, or salted copies, so that warming up primes no cache."""
    handover: Literal["overlap", "drain"] = "overlap"


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One thing measured and judged: one pytest item."""

    id: str
    """`suite/kind/name`: stable, unique, safe as a path."""
    suite: str
    kind: Kind
    name: str
    origin: str
    """`file:line:column` of its declaration."""
    dataset: str | None
    load: Load | None
    samples: SampleOrder | None = None
    """`count` is 0 until the dataset has been loaded: a plan reads no rows."""
    warmup: Warmup | None = None
    timeouts: Timeouts = Timeouts()
    budget: HealthBudget = HealthBudget()
    bounds: tuple[Bound, ...] = ()
    slo: tuple[Bound, ...] = ()
    """Per-request limits that goodput uses."""
    texts: TextPolicy = "keep"
    workers: int | None = None
    arrival_seed: int = 0
    minimum_duration_s: float | None = None
    """A shorter result is labelled `unofficial`. `load` lasts at least this long, unless its count is fixed."""
    unofficial: bool = False
    """Label the result `unofficial`, whatever its duration."""
    sweep: dict[str, int | float | str] = {}
    """Values this point takes from its sweep."""
    options: dict[str, Any] = {}
    """What only this kind of point knows: an audit's test and fields, an eval's task."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All points of a session, in the order of execution."""

    version: int = PLAN_VERSION
    deployments: dict[str, DeploymentPlan]
    """By suite."""
    datasets: dict[str, dict[str, DatasetPlan]]
    """By suite, then name."""
    points: tuple[Point, ...]
    files: dict[str, str] = {}
    """sha256 of each suite file, by path relative to the working folder."""
    duration_scale: float = 1.0
    """What durations were multiplied by, for a shortened smoke run; already applied to the points."""
    root: str = ""
    """Absolute; origins of points are relative to it."""

    def digest(self) -> str:
        """sha256 of what the plan asks for: its points, in their order."""
        return digest([self.version, *([point.id, self.point_digest(point)] for point in self.points)])

    def point_digest(self, point: Point) -> str:
        """sha256 of everything in the plan that the point's measurement depends on.

        The same for the same words of YAML and command line and the same data, whatever the session, wherever
        the checkout lies, and in whichever line a thing is declared.
        """
        deployment = self.deployments[point.suite]
        bare = [
            msgspec.structs.replace(
                point, origin="", bounds=_without_origins(point.bounds), slo=_without_origins(point.slo)
            ),
            msgspec.structs.replace(deployment, origin="", simulator_from_command_line=False),
            [msgspec.structs.replace(dataset, origin="") for dataset in self.datasets_of(point)],
            self.duration_scale,
        ]
        return digest(self._relocatable(msgspec.to_builtins(bare), self.folder(point.suite)))

    def datasets_of(self, point: Point) -> list[DatasetPlan]:
        """What the point reads: its dataset, and those that its options name."""
        datasets = self.datasets.get(point.suite, {})
        return [datasets[name] for name in sorted(datasets.keys() & {point.dataset, *_texts(point.options)})]

    def folder(self, suite: str) -> str:
        """The folder, absolute, in which the suite is declared."""
        file = self.deployments[suite].origin.rpartition(":")[0].rpartition(":")[0]
        return os.path.normpath(os.path.join(self.root, os.path.dirname(file)))  # noqa: PTH118, PTH120 # text in, text out

    def _relocatable(self, value: Any, folder: str) -> Any:
        """`value` with paths into the checkout written relative to the suite's folder."""
        match value:
            case dict():
                return {name: self._relocatable(part, folder) for name, part in value.items()}
            case list() | tuple():
                return [self._relocatable(part, folder) for part in value]
            case str() if self.root and (value + "/").startswith((self.root + "/", folder + "/")):
                return os.path.relpath(value, folder)
        return value

    def point(self, point_id: str) -> Point:
        """The point of this id. Raises `KeyError`."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)


def to_json(plan: Plan) -> bytes:
    return msgspec.json.encode(plan)


def from_json(data: bytes | str) -> Plan:
    return msgspec.json.decode(data, type=Plan)


def _without_origins(bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
    return tuple(msgspec.structs.replace(bound, origin="") for bound in bounds)


def _texts(value: Any) -> Iterator[str]:
    """Every text among the values of nested mappings and lists."""
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list() | tuple():
            for part in value:
                yield from _texts(part)
