"""Plan a suite's deployment, with the command line's overrides applied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import UNSET, UnsetType

from pytest_bench.errors import UsageError
from pytest_bench.hub_cache import is_hub_id
from pytest_bench.suite import checking
from pytest_bench.suite.checking import as_json
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.containers import plan_containers
from pytest_bench.suite.context import Context
from pytest_bench.suite.deployment_nodes import check_nodes
from pytest_bench.suite.deployment_schema import DeploymentSection, GenerationSection
from pytest_bench.suite.document import Path as Where
from pytest_bench.suite.plan import DeploymentPlan, NodesPlan, Secret, TokensPlan
from pytest_bench.suite.problems import Mark, Problems
from pytest_bench.suite.section import SecretSection
from pytest_bench.suite.serving_flags import inconsistencies
from pytest_bench.suite.vocabulary import ApiWords
from pytest_bench.wording import did_you_mean

SIMULATOR = "simulator"

_OWN_BODY_FIELDS = frozenset({"model", "stream", "messages", "prompt", "text", "input_ids"})
"""Body fields that the API writes."""
_MAPPINGS = frozenset({"stream_options", "sampling_params"})
"""Body fields to which the API adds fields of its own."""
_KEY_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "api-key", "x-api-key"})
_KEY_PARAMETERS = frozenset({"key", "api-key", "api_key", "apikey", "access_token", "token", "sig"})
_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "connection", "transfer-encoding"})


def plan_deployment(
    context: Context, suite: str, value: Mapping[str, Any]
) -> tuple[DeploymentPlan, ApiWords] | None:
    """The deployment of `suite` and the properties of its API. None if it has problems."""
    path = ("deployment",)
    section = context.check(DeploymentSection, path, value)
    if section is None:
        api = value.get("api")
        if isinstance(api, str):
            context.known((*path, "api"), "API", api, context.vocabulary.apis)
        return None
    overrides = context.overrides
    words = context.known((*path, "api"), "API", section.api, context.vocabulary.apis)
    simulator = _simulator(context, section)
    if section.metrics_interval_s is not None and section.metrics_path is None:
        context.problem((*path, "metrics_interval_s"), "needs a 'metrics_path' to read, which is null")
    headers = _headers(context, section)
    _check_query(context, section)
    written = _written_endpoints(context, section)
    containers = _containers(context, section)
    if words is None:
        return None
    key_env = overrides.api_key_env
    plan = DeploymentPlan(
        suite=suite,
        api=section.api,
        api_reference=words.reference,
        model=overrides.served_model or section.model,
        endpoints=tuple(url.rstrip("/") for url in overrides.endpoints) or written,
        containers=() if overrides.endpoints else containers,
        nodes=UNSET if section.nodes is None or overrides.endpoints else NodesPlan(**as_json(section.nodes)),
        simulator=simulator,
        answers_contents=_contents(context, simulator),
        simulator_from_command_line=overrides.endpoints == (SIMULATOR,),
        path=section.path,
        query={
            name: value if isinstance(value, str) else Secret(from_env=value.from_env)
            for name, value in section.query.items()
        },
        labels=section.labels,
        check_model=section.check_model,
        probe=section.probe,
        ready_timeout_s=section.ready_timeout_s
        if overrides.ready_timeout_s is None
        else overrides.ready_timeout_s,
        headers=headers,
        api_key=Secret(from_env=key_env) if key_env else _secret(section.api_key),
        stream=_stream(context, section, words),
        video_seconds=words.video_seconds,
        parameters=plan_parameters(context, ("deployment", "generation"), section.generation),
        tokens=_tokens(context, section),
        cache_reset=section.cache_reset,
        poll_interval_s=section.poll_interval_s,
        metrics_path=section.metrics_path,
        metrics_interval_s=section.metrics_interval_s,
        origin=str(context.document.key_mark(path)),
    )
    return plan, words


def endpoint_problem(deployment: DeploymentPlan) -> str | None:
    """Why a selected deployment has no endpoint, with the remedies; None if it has one."""
    if deployment.endpoints or deployment.containers:
        return None
    return (
        f"{deployment.origin}: the deployment of suite {deployment.suite!r} has no endpoint; "
        "give its URL with --endpoint=URL or as `endpoint:` in the suite, "
        f"or ask for the built-in server with --endpoint={SIMULATOR}"
    )


def check_endpoints(urls: tuple[str, ...], mark: Mark | None, name: str, problems: Problems) -> None:
    """Record the problems of a list of endpoints called `name`."""
    for position, url in enumerate(urls):
        complaint = _url_complaint(url)
        if complaint:
            problems.add(mark, f"{name} {complaint}")
        elif url.rstrip("/") in (other.rstrip("/") for other in urls[:position]):
            problems.add(mark, f"{name} repeats {url!r}; expected each endpoint once")
    if SIMULATOR in urls and len(urls) > 1:
        problems.add(mark, f"{name} names the {SIMULATOR} beside URLs; expected one or the other")


def _url_complaint(url: str) -> str | None:
    if url == SIMULATOR:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.username is not None or parts.password is not None:
        return "holds credentials; give a key as `api_key: {from_env: NAME}` or with --api-key-env NAME"
    plain = url.isprintable() and not any(letter.isspace() for letter in url)
    if not plain or parts.scheme not in ("http", "https") or not host or port == 0:
        return f"is {url!r}, not an endpoint; expected a URL such as http://host:8000, or {SIMULATOR!r}{_meant(url)}"
    if parts.query or parts.fragment:
        bare = f"{parts.scheme}://{parts.netloc}{parts.path}"
        return f"has a query or a fragment after {bare!r}; expected neither: a query is given as deployment.query"
    return None


def _meant(url: str) -> str:
    with_scheme = f"http://{url.lstrip('/')}"
    is_host = not {":", "."}.isdisjoint(url) and "://" not in url
    if is_host and _url_complaint(with_scheme) is None:
        return f"; did you mean {with_scheme!r}?"
    return did_you_mean(url, [SIMULATOR])


def _written_endpoints(context: Context, section: DeploymentSection) -> tuple[str, ...]:
    if section.endpoint == [""]:
        return ()
    path = ("deployment", "endpoint")
    check_endpoints(tuple(section.endpoint), context.mark(path), "deployment.endpoint", context.problems)
    return tuple(url.rstrip("/") for url in section.endpoint)


def _containers(context: Context, section: DeploymentSection) -> tuple[ContainerPlan, ...]:
    has_nodes = section.nodes is not None
    planned = plan_containers(context, section.container, section.containers, has_nodes=has_nodes)
    if section.nodes is not None:
        check_nodes(context, section.nodes.count, planned)
    suite = context.document.value
    has_eval = isinstance(suite, dict) and bool(suite.get("eval"))
    for path, sentence in inconsistencies(planned, labels=section.labels, has_eval=has_eval):
        context.problem(path, sentence)
    if planned and section.endpoint != [""]:
        context.problem(
            ("deployment", "endpoint"),
            "is given together with a container, which has an endpoint of its own; expected one of them",
        )
    return planned


def _simulator(context: Context, section: DeploymentSection) -> dict[str, Any]:
    """The simulator's behaviour; the path of its answers is relative to the suite's file."""
    behaviour, path = dict(section.simulator), ("deployment", "simulator")
    answers = behaviour.get("answers")
    if isinstance(answers, str):
        behaviour["answers"] = str(context.file((*path, "answers"), answers))
    try:
        context.vocabulary.check_simulator(behaviour)
    except UsageError as error:
        context.problem(path, f"is not a behaviour of the simulator: {error}")
        behaviour.pop("answers", None)
    return behaviour


def _contents(context: Context, simulator: Mapping[str, Any]) -> str | UnsetType:
    """sha256 of the simulator's answers. Unset without a file that can be read, which `_simulator` reports."""
    answers = simulator.get("answers")
    return UNSET if answers is None else context.contents(Path(answers)) or UNSET


def _headers(context: Context, section: DeploymentSection) -> dict[str, str | Secret]:
    headers: dict[str, str | Secret] = {}
    for name, value in section.headers.items():
        path = ("deployment", "headers", name)
        folded = name.lower()
        if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
            context.problem(path, "is not a header name; expected letters, digits and hyphens")
        elif folded in _OWN_HEADERS:
            context.problem(path, "is written by the load engine; leave it out")
        elif folded == "authorization" and (section.api_key or context.overrides.api_key_env):
            context.problem(
                path,
                "is given together with an API key, which is sent in the same header; expected one of them",
            )
        elif isinstance(value, str) and folded in _KEY_HEADERS:
            context.problem(path, "holds a key, which a suite must not contain; expected {from_env: NAME}")
        elif isinstance(value, str) and not (value.isascii() and value.isprintable()):
            context.problem(path, "has a value that is not valid in a header; expected printable ASCII")
        headers[name] = value if isinstance(value, str) else Secret(from_env=value.from_env)
    return headers


def _check_query(context: Context, section: DeploymentSection) -> None:
    for name, value in section.query.items():
        if isinstance(value, str) and name.lower() in _KEY_PARAMETERS:
            context.problem(
                ("deployment", "query", name),
                "holds a key, which a suite never does; expected {from_env: NAME}",
            )


def _secret(section: SecretSection | None) -> Secret | None:
    return None if section is None else Secret(from_env=section.from_env)


def _stream(context: Context, section: DeploymentSection, words: ApiWords) -> bool:
    asked = section.generation.stream
    if asked and not words.streaming:
        context.problem(
            ("deployment", "generation", "stream"),
            f"is true, but the API {section.api!r} has no streams; leave it out",
        )
    return words.streaming if asked is None else asked


def plan_parameters(context: Context, at: Where, generation: GenerationSection) -> dict[str, Any]:
    """The parameters of every request that `generation`, written at `at`, declares. Records fields of the body that
    are given twice, or that the API writes."""
    named = {
        name: value
        for name, value in as_json(generation).items()
        if value is not None and name not in ("stream", "extra_body")
    }
    path = (*at, "extra_body")
    for name, value in generation.extra_body.items():
        if name in _OWN_BODY_FIELDS:
            context.problem((*path, name), "is written by the API; leave it out")
        elif name in named:
            where = f"{checking.dotted(at)}.{name}"
            given = f"as {where}" if (*at, name) in context.document.marks else f"by the preset, as {where}"
            context.problem((*path, name), f"is also given {given}; expected it once")
        elif name == "n" and value not in (None, 1):
            context.problem(
                (*path, name), f"is {value!r}; one request is measured by one answer: leave it out"
            )
        elif name in _MAPPINGS and not isinstance(value, Mapping | None):
            context.problem((*path, name), f"is {value!r}; expected a mapping, or null to leave it out")
    return {**named, **generation.extra_body}


def _tokens(context: Context, section: DeploymentSection) -> TokensPlan:
    values = as_json(section.tokens)
    asked = context.overrides.tokenizer
    if asked is not None:
        asked = os.path.expanduser(asked)  # noqa: PTH111 # a text, which may be a hub id
        values["tokenizer"] = _located(context.root / asked, asked)
    elif section.tokens.tokenizer is not None:
        written = os.path.expanduser(section.tokens.tokenizer)  # noqa: PTH111 # as above
        values["tokenizer"] = _located(context.file(("deployment", "tokens", "tokenizer"), written), written)
    return TokensPlan(**values)


def _located(file: Path, written: str) -> str:
    """The path of a tokenizer, absolute; or the text as written, if it is a hub id.

    A hub id looks like a relative path. It is taken as a path if something is there.
    """
    return str(file) if file.exists() or not is_hub_id(written) else written
