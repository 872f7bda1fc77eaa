"""Proves that the logs of containers are as quiet as their controls say, and that warnings still appear."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from pytest_bench.containers.group import Member
from pytest_bench.containers.log_classes import count
from pytest_bench.endpoints.address import parse_url
from pytest_bench.endpoints.client import Client
from pytest_bench.endpoints.headers import Headers
from pytest_bench.endpoints.models import MODELS_PATH
from pytest_bench.endpoints.ready import OneToken
from pytest_bench.suite.container_plan import Canary

PROBES = 3
_TIMEOUT_S = 60.0


def prove_quiet(
    containers: Mapping[str, Member], url: str, headers: Headers, request: OneToken | None
) -> None:
    """Send requests to `url`, and raise `ContainerError` if a log shows that a declared control has no effect.

    `request` is the cheapest request of the API; without one, the list of models is read. A declared canary must make
    exactly one line match its pattern.
    """
    client = Client(parse_url(url), headers)

    def probe() -> None:
        for _ in range(PROBES):
            if request is None:
                client.exchange("GET", MODELS_PATH, timeout_s=_TIMEOUT_S)
            else:
                client.exchange("POST", request.path, body=request.bodies[0], timeout_s=_TIMEOUT_S)

    controlled = [each for each in containers.values() if each.plan.log.silenced]
    if controlled:
        _prove_silence(controlled, probe)
    for container in containers.values():
        if (canary := container.plan.log.canary) is not None:
            _prove_warning(container, canary, client)


def _prove_silence(containers: list[Member], probe: Callable[[], None]) -> None:
    starts = [container.settle_log() for container in containers]
    probe()
    for container, start in zip(containers, starts, strict=True):
        plan = container.plan.log
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


def _prove_warning(container: Member, canary: Canary, client: Client) -> None:
    start = container.settle_log()
    client.exchange("POST", canary.path, body=msgspec.json.encode(canary.body), timeout_s=_TIMEOUT_S)
    container.settle_log()
    pattern = re.compile(canary.pattern)
    times = sum(pattern.search(line) is not None for line in container.log.lines(start))
    if times != 1:
        container.refuse(
            f"logged the warning of its canary {times} times; expected once ({container.plan.place}.log.canary)"
        )
    container.proof = msgspec.structs.replace(container.proof, warnings_proven=True)
