"""The containers of a deployment on several nodes: where each runs, and how they address one another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.context import Context

_ADDRESS = re.compile(r"\{address\.([^{}]*)\}")


def check_nodes(context: Context, count: int, containers: Sequence[ContainerPlan]) -> None:
    """Record problems of a deployment on `count` nodes."""
    path = ("deployment", "nodes")
    if not any(plan.role for plan in containers):
        context.problem(path, "are given without `containers`, which are what runs on them")
        return
    for plan in containers:
        here = ("deployment", "containers", plan.role)
        if plan.rank >= count:
            context.problem(
                (*here, "rank"), f"is {plan.rank}; expected at most {count - 1}, with {count} nodes"
            )
        if plan.network != "host" and (plan.port is not None or plan.ports):
            context.problem(
                here,
                "listens on a bridge network, where other nodes do not reach it; expected `network: host`",
            )
        for role in sorted(_roles_named(plan) - {each.role for each in containers}):
            context.problem(here, f"uses {{address.{role}}}, but no container has the role {role!r}")
    idle = sorted(set(range(count)) - {plan.rank for plan in containers})
    if idle:
        context.problem(
            path, f"have no container on rank {', '.join(map(str, idle))}; expected one or more on every rank"
        )
    _check_images(context, containers)


def with_addresses(plan: ContainerPlan, addresses: Mapping[str, str]) -> ContainerPlan:
    """`plan` with each `{address.ROLE}` replaced by the address of that role. All other text is left as it is."""

    def filled(text: str) -> str:
        return _ADDRESS.sub(lambda found: addresses[found[1]], text)

    def all_filled(words: Sequence[str]) -> tuple[str, ...]:
        return tuple(map(filled, words))

    return msgspec.structs.replace(
        plan,
        entrypoint=None if plan.entrypoint is None else all_filled(plan.entrypoint),
        command=all_filled(plan.command),
        arguments=all_filled(plan.arguments),
        environment={
            name: filled(value) if isinstance(value, str) else value
            for name, value in plan.environment.items()
        },
        setup=tuple(map(all_filled, plan.setup)),
    )


def _roles_named(plan: ContainerPlan) -> set[str]:
    values = (value for value in plan.environment.values() if isinstance(value, str))
    words = (word for step in plan.setup for word in step)
    texts = (*(plan.entrypoint or ()), *plan.command, *plan.arguments, *values, *words)
    return {role for text in texts for role in _ADDRESS.findall(text)}


def _check_images(context: Context, containers: Sequence[ContainerPlan]) -> None:
    """The nodes agree on each image by its name, so one name must be one image."""
    first: dict[str, ContainerPlan] = {}
    for plan in containers:
        other = first.setdefault(plan.image, plan)
        if (plan.build, plan.image_cache) != (other.build, other.image_cache):
            context.problem(
                ("deployment", "containers", plan.role, "image"),
                f"is {plan.image!r}, as that of {other.role}, with another `build` or `image_cache`; expected the same",
            )
