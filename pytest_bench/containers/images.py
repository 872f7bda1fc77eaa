"""The image that a container runs: found on the engine, or built."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any, Literal

import docker
import docker.errors
import msgspec

from pytest_bench.containers.engine import ContainerError, api_errors
from pytest_bench.containers.identity import Identity, identity_of
from pytest_bench.suite.container_plan import Build, ContainerPlan
from pytest_bench.wording import printable

Provenance = Literal["present", "built"]
_SHOWN = 2000


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image of this engine."""

    reference: str
    """As the suite names it."""
    id: str
    """The id that this engine gives it. Containers run by it, because a tag may move."""
    identity: Identity
    provenance: Provenance
    config: dict[str, Any]


def provide(client: docker.DockerClient, plan: ContainerPlan, environ: dict[str, str]) -> Image:
    """The image of `plan`. Raises `ContainerError` if it cannot be had."""
    provenance: Provenance = "present"
    if plan.build is not None:
        build(plan.image, plan.build, environ)
        provenance = "built"
    with api_errors(f"the image {plan.image}"):
        try:
            found = client.images.get(plan.image)
        except docker.errors.ImageNotFound as error:
            raise ContainerError(
                f"the image {plan.image} is not on this engine: pull or load it, or declare how it is built "
                "(deployment.container.build)"
            ) from error
    return Image(
        reference=plan.image,
        id=str(found.id),
        identity=identity_of(found.attrs),
        provenance=provenance,
        config=dict(found.attrs.get("Config") or {}),
    )


def build(reference: str, plan: Build, environ: dict[str, str]) -> None:
    """Build an image with `docker build`, because the SDK has no BuildKit (docker-py#2230).

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
        env=environ,
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
