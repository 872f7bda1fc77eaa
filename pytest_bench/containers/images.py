"""The image that a container runs: from the cache, built, on the engine, or pulled."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import docker
import docker.errors
import msgspec

from pytest_bench.containers.engine import ContainerError, api_errors
from pytest_bench.containers.identity import Identity, identity_of
from pytest_bench.containers.image_cache import Corrupt, ImageCache
from pytest_bench.files import digest
from pytest_bench.suite.container_plan import Build, ContainerPlan
from pytest_bench.wording import printable

Provenance = Literal["loaded", "built", "present", "pulled"]
_SHOWN = 2000
_RANK = "SLURM_PROCID"


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image of this engine."""

    reference: str
    """As the suite names it."""
    id: str
    """The id that this engine gives it. Containers run by it, because a tag may move."""
    identity: Identity
    provenance: Provenance
    config: dict[str, Any]


def provide(client: docker.DockerClient, plan: ContainerPlan, environ: Mapping[str, str]) -> Image:
    """The image of `plan`: from the cache, then built, then on the engine, then pulled; each only if it applies.

    What was not in the cache is saved there. Only the first task of a Slurm step writes to the cache. Raises
    `ContainerError` with the reason of every source if none has the image.
    """
    cache = None if plan.image_cache is None else ImageCache(Path(plan.image_cache))
    fingerprint = "" if plan.build is None else fingerprint_of(plan.build)
    is_producer = environ.get(_RANK, "0") == "0"
    sources: list[tuple[Provenance, Callable[[], str]]] = []
    if cache is not None:
        sources.append(
            ("loaded", lambda: _load(client, cache, plan.image, fingerprint, is_producer=is_producer))
        )
    if plan.build is not None:
        build_plan = plan.build
        sources.append(("built", lambda: build(client, plan.image, build_plan, environ)))
    else:
        sources.append(("present", lambda: _present(client, plan.image)))
    if not plan.image.startswith("sha256:"):
        sources.append(("pulled", lambda: _pull(client, plan.image)))
    errors = []
    for provenance, source in sources:
        try:
            found = source()
        except ContainerError as error:
            errors.append(f"{provenance}: {error}")
            continue
        if cache is not None and provenance != "loaded" and is_producer:
            cache.save(client, plan.image, found, fingerprint)
        return _described(client, plan.image, found, provenance)
    reasons = "".join(f"\n  not {error}" for error in errors)
    raise ContainerError(f"the image {plan.image} cannot be had:{reasons}")


def fingerprint_of(plan: Build) -> str:
    """Digest of what decides on a build, apart from the files of its context, which the engine's cache compares."""
    dockerfile = Path(plan.dockerfile or Path(plan.context, "Dockerfile"))
    try:
        text = dockerfile.read_bytes()
    except OSError as error:
        raise ContainerError(f"{dockerfile}: cannot be read: {error.strerror}") from error
    return digest([hashlib.sha256(text).hexdigest(), plan.arguments, plan.target])


def build(client: docker.DockerClient, reference: str, plan: Build, environ: Mapping[str, str]) -> str:
    """Build an image with `docker build`, because the SDK has no BuildKit (docker-py#2230), and return its id.

    Raises `ContainerError` with the end of the output. Whether a layer is built again is up to the engine's cache.
    """
    program = shutil.which("docker", path=environ.get("PATH"))
    if program is None:
        raise ContainerError("images are built with the command `docker`, which is not installed")
    words = [program, "build", "--tag", reference]
    for name, value in plan.arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    if plan.dockerfile is not None:
        words += ["--file", plan.dockerfile]
    if plan.target is not None:
        words += ["--target", plan.target]
    done = subprocess.run(
        [*words, plan.context],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        output = printable(done.stdout.decode(errors="replace").strip()[-_SHOWN:], keep="\n")
        raise ContainerError(
            f"the image {reference} could not be built (exit status {done.returncode}):\n{output}"
        )
    return _present(client, reference)


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
