"""Brings up the system under test: a served endpoint, a container, or the simulator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from pytest_bench import simulator
from pytest_bench.api import Api, Generation, import_api
from pytest_bench.endpoints.address import parse_url, resolve
from pytest_bench.endpoints.headers import NO_HEADERS, Headers, read_headers
from pytest_bench.endpoints.models import MODELS_PATH
from pytest_bench.endpoints.ready import Identity, OneToken, wait_ready
from pytest_bench.errors import UsageError
from pytest_bench.running.waiting import Waiting, reporting_progress
from pytest_bench.simulator.script import SERVER
from pytest_bench.suite.deployments import endpoint_problem
from pytest_bench.suite.plan import DeploymentPlan, NodesPlan
from pytest_bench.workload import Target

if TYPE_CHECKING:
    from pytest_bench.containers.group import Containers, Member

SIMULATOR = "simulator"


def _always() -> None:
    """For servers that we did not start."""


@dataclass(frozen=True)
class Deployment:
    """A system under test that is ready."""

    plan: DeploymentPlan
    api: Api
    targets: tuple[Target, ...]
    headers: Headers
    identities: tuple[Identity, ...]
    """What each endpoint reports about itself."""
    require_running: Callable[[], None] = _always
    """Raises `EndpointError` if a server that we started has ended."""
    containers: Containers | None = None
    """The containers of the deployment; None if it has none."""

    @property
    def container(self) -> Member | None:
        """The container that serves; None if the deployment has none."""
        return None if self.containers is None else self.containers.serving

    @property
    def simulated(self) -> bool:
        """Whether this is the simulator, by name or by URL: results from it are not a model's."""
        return is_simulated(self.plan, [identity.server for identity in self.identities])

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(target.url for target in self.targets)

    @property
    def generation(self) -> Generation:
        return Generation(model=self.plan.model, stream=self.plan.stream, parameters=self.plan.parameters)


def is_simulated(plan: DeploymentPlan, servers: Iterable[str | None]) -> bool:
    """Whether a deployment is the simulator, given the Server headers of its endpoints."""
    return plan.endpoints == (SIMULATOR,) or SERVER in servers


@contextmanager
def bring_up(
    plan: DeploymentPlan,
    folder: Path,
    environ: Mapping[str, str],
    on_wait: Callable[[Waiting], None] = lambda _: None,
    *,
    nonce: str = "",
    is_needed: bool = True,
) -> Iterator[Deployment]:
    """Wait until the deployment is ready; on leaving, end what was started for it.

    `on_wait` is called every second, in another thread, while waiting for an endpoint. `folder` receives the
    simulator's ground-truth log, or the evidence of the container, which `nonce`, that of the session, names. Raises
    `UsageError` if no endpoint is known, and `EndpointError` if one does not answer as the suite says it should, or if
    the simulator or the container fails. Unless an endpoint `is_needed`, there may be none.
    """
    api = import_api(plan.api, plan.api_reference)
    if problem := endpoint_problem(plan):
        if is_needed:
            raise UsageError(problem)
        yield Deployment(plan=plan, api=api, targets=(), headers=NO_HEADERS, identities=())
        return
    with ExitStack() as stack:
        urls, require_running, containers = plan.endpoints, _always, None
        started = time.monotonic()
        if plan.containers:
            folder.mkdir(parents=True, exist_ok=True)
            containers = stack.enter_context(_contained(plan, folder, environ, on_wait, nonce))
            urls, require_running = (containers.serving.url,), containers.require_running
        elif urls == (SIMULATOR,):
            behaviour = simulator.Behaviour.from_mapping({"model": plan.model, **plan.simulator})
            folder.mkdir(parents=True, exist_ok=True)
            log = folder / "simulator.jsonl"
            running = stack.enter_context(simulator.start(behaviour, log=log))
            urls, require_running = (running.url,), running.require_running
        headers = read_headers(plan.headers, plan.api_key, environ, query=plan.query)
        # On several nodes, the agents have limits of their own for images and for the start.
        is_alone = containers is not None and plan.nodes is UNSET
        spent_s = time.monotonic() - started if is_alone else 0.0
        left = msgspec.structs.replace(plan, ready_timeout_s=max(0.0, plan.ready_timeout_s - spent_s))
        identities = tuple(_ready(url, left, api, headers, on_wait, require_running) for url in urls)
        if containers is not None:
            _prove_quiet(containers, plan, api, headers)
        path = plan.path or api.path
        targets = tuple(resolve(parse_url(url), path, query=headers.query) for url in urls)
        yield Deployment(
            plan=plan,
            api=api,
            targets=targets,
            headers=headers,
            identities=identities,
            require_running=require_running,
            containers=containers,
        )


@contextmanager
def _contained(
    plan: DeploymentPlan,
    folder: Path,
    environ: Mapping[str, str],
    on_wait: Callable[[Waiting], None],
    nonce: str,
) -> Iterator[Containers]:
    """The containers of a deployment, whose servers listen and are verified."""
    # The Docker SDK is heavy, and most deployments have no container.
    from pytest_bench.containers.serving import serve  # noqa: PLC0415 # loads docker, which few sessions need

    if plan.nodes is not UNSET:
        with _on_nodes(plan, plan.nodes, folder, environ, on_wait, nonce) as several:
            yield several
        return
    with ExitStack() as stack:
        images = ", ".join(dict.fromkeys(each.image for each in plan.containers))
        with reporting_progress(f"container {images}", plan.ready_timeout_s, on_wait) as not_yet:
            containers = stack.enter_context(
                serve(
                    plan.containers,
                    suite=plan.suite,
                    nonce=nonce,
                    folder=folder,
                    environ=environ,
                    timeout_s=plan.ready_timeout_s,
                    on_wait=not_yet,
                )
            )
        kept = stack.pop_all()
    with kept:
        yield containers


@contextmanager
def _on_nodes(
    plan: DeploymentPlan,
    nodes: NodesPlan,
    folder: Path,
    environ: Mapping[str, str],
    on_wait: Callable[[Waiting], None],
    nonce: str,
) -> Iterator[Containers]:
    """The containers of a deployment on several nodes."""
    from pytest_bench.gang.launching import gang  # noqa: PLC0415 # as in `_contained`

    with ExitStack() as stack:
        limit_s = nodes.join_timeout_s + nodes.build_timeout_s + nodes.load_timeout_s + plan.ready_timeout_s
        with reporting_progress(f"{nodes.count} nodes", limit_s, on_wait) as not_yet:
            containers = stack.enter_context(
                gang(plan, nonce=nonce, folder=folder, environ=environ, on_wait=not_yet)
            )
        kept = stack.pop_all()
    with kept:
        yield containers


def _prove_quiet(containers: Containers, plan: DeploymentPlan, api: Api, headers: Headers) -> None:
    from pytest_bench.running.quiet import prove_quiet  # noqa: PLC0415 # as in `_contained`

    prove_quiet(containers, containers.serving.url, headers, _one_token(plan, api))


def _ready(
    url: str,
    plan: DeploymentPlan,
    api: Api,
    headers: Headers,
    on_wait: Callable[[Waiting], None],
    require_running: Callable[[], None],
) -> Identity:
    with reporting_progress(url, plan.ready_timeout_s, on_wait) as note_answer:

        def not_yet(answer: str) -> None:
            require_running()
            note_answer(answer)

        return wait_ready(
            url,
            model=plan.model,
            headers=headers,
            probe=plan.probe,
            one_token=_one_token(plan, api),
            models_path=_models_path(plan, api),
            check_model=plan.check_model,
            timeout_s=plan.ready_timeout_s,
            not_yet=not_yet,
        )


def _models_path(plan: DeploymentPlan, api: Api) -> str:
    """Path of the list of models: a declared path with the end of the API's own path replaced by `/models`."""
    version, last = api.path[: api.path.find("/", 1)], api.path[api.path.find("/", 1) :]
    if plan.path is not None and version == "/v1" and plan.path.endswith(last):
        return plan.path.removesuffix(last) + "/models"
    return MODELS_PATH


_LIMITS = ("max_tokens", "max_completion_tokens")
"""Names of the limit on output tokens. Servers differ in which of them they accept."""


def _one_token(plan: DeploymentPlan, api: Api) -> OneToken | None:
    """The cheapest request that proves the API's path; None for an API whose every request is expensive.

    It limits the output by the name that the suite uses; if the suite sets no limit, each name is tried,
    because it is unknown which of them the server accepts.
    """
    if not api.streaming:
        return None
    column = next(name for name in api.columns if name in api.required)
    named = [name for name in _LIMITS if name in plan.parameters] or _LIMITS
    bodies = (
        api.encode({column: "Hello"}, Generation(model=plan.model, stream=False, parameters={name: 1}))
        for name in named
    )
    return OneToken(path=plan.path or api.path, bodies=tuple(bodies))
