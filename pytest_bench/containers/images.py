"""The image that a container runs: from the cache, built, on the engine, or pulled."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import docker
import docker.errors
import msgspec

from pytest_bench.containers.builds import build, fingerprint_of
from pytest_bench.containers.engine import ContainerError, api_errors
from pytest_bench.containers.identity import Identity, identity_of
from pytest_bench.containers.image_cache import Corrupt, ImageCache
from pytest_bench.suite.container_plan import Build, ContainerPlan

Provenance = Literal["loaded", "built", "present", "pulled"]
_RANK = "SLURM_PROCID"
_RETRY_S = 0.2


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image of this engine."""

    reference: str
    """As the suite names it."""
    id: str
    """The id that this engine gives it. Containers run by it, because a tag may move."""
    identity: Identity
    provenance: Provenance
    config: dict[str, Any]


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image that one node has saved for others."""

    path: str
    """Absolute path of the file."""
    identity: str


def provide(
    client: docker.DockerClient,
    plan: ContainerPlan,
    environ: Mapping[str, str],
    *,
    is_producer: bool | None = None,
) -> Image:
    """The image of `plan`, from the first source that has it.

    A local image: the cache, a build, a pull. Any other: the cache, the engine, a pull, a build. The working image is
    never removed. What was not in the cache is saved there, but only by the producer, and only the producer builds an
    image again whose file is damaged, so that all nodes run one build. Default: the first task of a Slurm step. What
    stands in for a damaged file must be the image that the file held, by its identity. Raises `ContainerError` with the
    reason of every source if none has the image, and if it is another one.
    """
    cache = None if plan.image_cache is None else ImageCache(Path(plan.image_cache))
    fingerprint = "" if plan.build is None else fingerprint_of(plan.build)
    if is_producer is None:
        is_producer = environ.get(_RANK, "0") == "0"
    sources: list[tuple[Provenance, Callable[[], str]]] = []
    if cache is not None:
        sources.append(
            ("loaded", lambda: _load(client, cache, plan.image, fingerprint, is_producer=is_producer))
        )
    builds: list[tuple[Provenance, Callable[[], str]]] = []
    if (wanted := plan.build) is not None:
        builds.append(("built", lambda: _built(client, plan.image, wanted, environ)))
    is_local = wanted is not None and wanted.local
    sources += builds if is_local else [("present", lambda: _present(client, plan.image))]
    if not plan.image.startswith("sha256:"):
        sources.append(("pulled", lambda: _pull(client, plan.image)))
    sources += [] if is_local else builds
    errors = []
    is_damaged = False
    for provenance, source in sources:
        if provenance == "built" and is_damaged and not is_producer:
            errors.append("built: the first task of the Slurm step builds it, because it saves it, too")
            continue
        try:
            found = source()
        except ContainerError as error:
            is_damaged = is_damaged or isinstance(error, Corrupt)
            errors.append(f"{provenance}: {error}")
            continue
        image = _described(client, plan.image, found, provenance)
        if cache is not None and provenance != "loaded":
            cache.require_same(plan.image, fingerprint, image.identity.digest)
        if cache is not None and provenance != "loaded" and is_producer:
            cache.save(client, plan.image, found, fingerprint)
            cache.forget(plan.image, fingerprint)
        return image
    reasons = "".join(f"\n  not {error}" for error in errors)
    raise ContainerError(f"the image {plan.image} cannot be had:{reasons}")


def published(plan: ContainerPlan, image: Image) -> Published:
    """Where the cache has `image`, which `provide` returned. Raises `ContainerError` if it has another one."""
    cache = ImageCache(Path(plan.image_cache or ""))
    entry = cache.find(plan.image, "" if plan.build is None else fingerprint_of(plan.build))
    if entry is None or entry.identity != image.identity.digest:
        raise ContainerError(
            f"{cache.folder} has no file of the image {plan.image} with the identity {image.identity.digest}: another "
            "session has replaced it"
        )
    return Published(path=str(cache.path(entry)), identity=entry.identity)


def load_published(
    client: docker.DockerClient, plan: ContainerPlan, found: Published, timeout_s: float
) -> Image:
    """Load an image that another node has saved. It may take up to `timeout_s` until this node sees the file.

    A damaged file is renamed to `.corrupt`, so that the next session saves it again. Raises `ContainerError`.
    """
    path = Path(found.path)
    cache = ImageCache(path.parent)
    deadline = time.monotonic() + timeout_s
    while (entry := cache.entry_of(path)) is None:
        if time.monotonic() > deadline:
            raise ContainerError(
                f"{path}: is not visible on this node, although another node has saved it: image_cache must be on a "
                "file system that all nodes share"
            )
        time.sleep(_RETRY_S)
    if entry.identity != found.identity:
        raise ContainerError(
            f"{path}: holds the identity {entry.identity}, but {found.identity} was published: another session has "
            "replaced it"
        )
    try:
        image_id = cache.load(client, entry)
    except Corrupt:
        cache.quarantine(entry)
        raise
    return _described(client, plan.image, image_id, "loaded")


def _load(
    client: docker.DockerClient, cache: ImageCache, reference: str, fingerprint: str, *, is_producer: bool
) -> str:
    entry = cache.find(reference, fingerprint)
    if entry is None:
        raise ContainerError(f"{cache.folder} has no entry of this image and build")
    try:
        return cache.load(client, entry)
    except Corrupt:
        if is_producer:
            cache.quarantine(entry)
        raise


def _built(client: docker.DockerClient, reference: str, plan: Build, environ: Mapping[str, str]) -> str:
    build(reference, plan, environ)
    return _present(client, reference)


def _present(client: docker.DockerClient, reference: str) -> str:
    with api_errors(f"the image {reference}"):
        try:
            return str(client.images.get(reference).id)
        except docker.errors.ImageNotFound as error:
            raise ContainerError(f"the engine has no image {reference}") from error


def _pull(client: docker.DockerClient, reference: str) -> str:
    with api_errors(f"the pull of {reference}"):
        client.images.pull(reference)
    return _present(client, reference)


def _described(client: docker.DockerClient, reference: str, image_id: str, provenance: Provenance) -> Image:
    with api_errors(f"the image {reference}"):
        found = client.images.get(image_id)
    return Image(
        reference=reference,
        id=str(found.id),
        identity=identity_of(found.attrs),
        provenance=provenance,
        config=dict(found.attrs.get("Config") or {}),
    )
