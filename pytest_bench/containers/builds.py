"""Images that are built here, with the command line: the SDK has no BuildKit (docker-py#2230)."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pytest_bench.containers.engine import ContainerError
from pytest_bench.files import digest
from pytest_bench.suite.container_plan import Build
from pytest_bench.wording import printable

_SHOWN = 2000


def buildx_problem(environ: Mapping[str, str]) -> str | None:
    """Why further build contexts cannot be used on this machine; None if they can.

    `docker build` refuses them without the plugin, and takes `--build-context` as an unknown option.
    """
    program = shutil.which("docker", path=environ.get("PATH"))
    if program is None:
        return "need the command `docker` with its plugin buildx, which is not installed"
    asked = subprocess.run(
        [program, "buildx", "version"], env=dict(environ), capture_output=True, check=False
    )
    if asked.returncode:
        return (
            "need `docker buildx`, which is not installed here: install the plugin (Debian 12 has none), or copy the "
            "files into the context"
        )
    return None


def fingerprint_of(plan: Build) -> str:
    """Digest of what determines a build, except the files of its contexts, which the engine's cache compares."""
    dockerfile = Path(plan.dockerfile or Path(plan.context, "Dockerfile"))
    try:
        text = dockerfile.read_bytes()
    except OSError as error:
        raise ContainerError(f"{dockerfile}: cannot be read: {error.strerror}") from error
    return digest([hashlib.sha256(text).hexdigest(), plan.arguments, plan.target, plan.contexts])


def command_of(program: str, reference: str, plan: Build) -> list[str]:
    """The words of the command that builds `reference`. Only buildx supports further contexts."""
    words = [program, *(("buildx", "build", "--load") if plan.contexts else ("build",)), "--tag", reference]
    for name, value in plan.arguments.items():
        words += ["--build-arg", f"{name}={value}"]
    for name, source in plan.contexts.items():
        words += ["--build-context", f"{name}={source}"]
    if plan.dockerfile is not None:
        words += ["--file", plan.dockerfile]
    if plan.target is not None:
        words += ["--target", plan.target]
    return [*words, plan.context]


def build(reference: str, plan: Build, environ: Mapping[str, str]) -> None:
    """Build an image under the name `reference`. Raises `ContainerError` with the end of the output.

    Whether a layer is built again is up to the engine's cache.
    """
    program = shutil.which("docker", path=environ.get("PATH"))
    if program is None:
        raise ContainerError("images are built with the command `docker`, which is not installed")
    done = subprocess.run(
        command_of(program, reference, plan),
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
