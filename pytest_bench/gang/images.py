"""The images of a gang: every node has the same one before any of them starts a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from pytest_bench.cluster.rendezvous import RendezvousError
from pytest_bench.containers.engine import Client
from pytest_bench.containers.images import Image, Published, load_published, provide, published
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.plan import NodesPlan

_VISIBLE_S = 60.0
"""How long a file may take to appear on another node of a shared file system."""


class Agent(Protocol):
    """A rank, as far as images need it."""

    rank: int

    def doing(self, text: str) -> None:
        """Say what this rank does from here on."""

    def barrier(
        self, name: str, *, timeout_s: float, payload: str | None = None, identity: str | None = None
    ) -> str | None:
        """As `Rendezvous.barrier`."""


def prepare(
    client: Client,
    plans: Sequence[ContainerPlan],
    agent: Agent,
    limits: NodesPlan,
    environ: Mapping[str, str],
) -> dict[str, Image]:
    """Prepare the images of this rank's containers, and wait until every rank has its own; returns them by name.

    `plans` are those of all ranks. With a cache, the lowest rank that needs an image prepares and saves it, and the
    others load that file (barrier `image:NAME:published`). Without one, every rank prepares its own. At the barrier
    `image:NAME:loaded` all ranks must have the same identity. Raises `ContainerError`, and what barriers raise.
    """
    images = {}
    for plan in {plan.image: plan for plan in plans}.values():
        ranks = {each.rank for each in plans if each.image == plan.image}
        is_needed = agent.rank in ranks
        image = None
        if plan.image_cache is not None:
            image = _shared(client, plan, agent, limits, environ, producer=min(ranks), is_needed=is_needed)
        elif is_needed:
            agent.doing(f"preparing the image {plan.image}")
            image = provide(client, plan, environ)
        agent.doing(f"waiting until every node has the image {plan.image}")
        identity = None if image is None else image.identity.digest
        agent.barrier(f"image:{plan.image}:loaded", timeout_s=limits.load_timeout_s, identity=identity)
        if image is not None:
            images[plan.image] = image
    return images


def _shared(
    client: Client,
    plan: ContainerPlan,
    agent: Agent,
    limits: NodesPlan,
    environ: Mapping[str, str],
    *,
    producer: int,
    is_needed: bool,
) -> Image | None:
    """The image from the cache that all ranks share; None if this rank does not need it."""
    image = payload = None
    if agent.rank == producer:
        agent.doing(f"preparing the image {plan.image}")
        image = provide(client, plan, environ, is_producer=True)
        payload = msgspec.json.encode(published(plan, image)).decode()
    else:
        agent.doing(f"waiting for the image {plan.image}")
    found = agent.barrier(f"image:{plan.image}:published", timeout_s=limits.build_timeout_s, payload=payload)
    if image is None and is_needed:
        if found is None:
            raise RendezvousError(f"image:{plan.image}:published: rank {producer} published nothing")
        agent.doing(f"loading the image {plan.image}")
        image = load_published(client, plan, msgspec.json.decode(found, type=Published), _VISIBLE_S)
    return image
