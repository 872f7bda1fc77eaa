"""Proves that the log of a container is as quiet as its controls say, and that warnings still appear."""

from __future__ import annotations

import re

import msgspec

from pytest_bench.containers.container import Container
from pytest_bench.containers.log_classes import count
from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Client
from pytest_bench.endpoints.headers import Headers
from pytest_bench.endpoints.models import MODELS_PATH
from pytest_bench.endpoints.ready import OneToken

PROBES = 3
_TIMEOUT_S = 60.0


def prove_quiet(container: Container, url: str, headers: Headers, request: OneToken | None) -> None:
    """Send requests, and raise `ContainerError` if the log shows that a declared control has no effect.

    `request` is the cheapest request of the API; without one, the list of models is read. A declared canary must make
    exactly one line match its pattern.
    """
    plan = container.plan.log
    client = Client(parse_url(url), headers)
    if plan.silenced:
        start = container.settle_log()
        for _ in range(PROBES):
            if request is None:
                client.exchange("GET", MODELS_PATH, timeout_s=_TIMEOUT_S)
            else:
                client.exchange("POST", request.path, body=request.bodies[0], timeout_s=_TIMEOUT_S)
        container.settle_log()
        found = count(container.log.lines(start)).classes
        loud = {name: found[name].lines for name in plan.silenced if name in found}
        if loud:
            lines = ", ".join(f"{number} of class {name!r}" for name, number in loud.items())
            container.refuse(
                f"logged lines that its log controls should silence ({lines}) after {PROBES} requests; its "
                f"controls are {plan.controls}"
            )
        container.proof = msgspec.structs.replace(container.proof, silenced=plan.silenced, requests=PROBES)
    if plan.canary is not None:
        start = container.settle_log()
        client.exchange(
            "POST", plan.canary.path, body=msgspec.json.encode(plan.canary.body), timeout_s=_TIMEOUT_S
        )
        container.settle_log()
        pattern = re.compile(plan.canary.pattern)
        times = sum(pattern.search(line) is not None for line in container.log.lines(start))
        if times != 1:
            container.refuse(
                f"logged the warning of its canary {times} times; expected once (deployment.container.log.canary)"
            )
        container.proof = msgspec.structs.replace(container.proof, warnings_proven=True)
