"""Finds this package's containers, and those of sessions that have died."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import docker.errors
import msgspec

from pytest_bench import clock

PREFIX = "pytest-inference-bench."
OWNER = f"{PREFIX}owner"
"""Label with a name that is unique to one start."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The process for which a container was started."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: str
    """Start time of the process in clock ticks since boot, which distinguishes it from a later one with the same id."""

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(
            host=platform.node(),
            boot_id=clock.boot_id(),
            pid_namespace=_pid_namespace(),
            pid=os.getpid(),
            started=started(os.getpid()) or "",
        )

    def labels(self) -> dict[str, str]:
        return {f"{PREFIX}{name}": str(value) for name, value in msgspec.structs.asdict(self).items()}


def owner_of(labels: Mapping[str, str]) -> Owner | None:
    """The owner that labels name; None if they are not this package's."""
    found = {name: labels.get(f"{PREFIX}{name}") for name in Owner.__struct_fields__}
    try:
        return msgspec.convert(found, Owner, strict=False)
    except msgspec.ValidationError:
        return None


def is_left_over(owner: Owner) -> bool:
    """Whether the owner has certainly ended: it ran on this host, and is not running any more.

    An owner on another host, or in another PID namespace, cannot be judged.
    """
    if owner.host != platform.node():
        return False
    if owner.boot_id != clock.boot_id():
        return True
    return owner.pid_namespace == _pid_namespace() and started(owner.pid) != owner.started


def started(pid: int) -> str | None:
    """Start time of a running process, in clock ticks since boot; None if it has ended."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def remove_left_over(client: docker.DockerClient) -> Iterator[str]:
    """Remove what sessions that have died on this host left; yields the names. Touches nothing else."""

    def left_over(labels: Mapping[str, str]) -> bool:
        owner = owner_of(labels)
        return owner is not None and is_left_over(owner)

    yield from _removed(client, OWNER, left_over)


def remove_of(client: docker.DockerClient, owner: str) -> Iterator[str]:
    """Remove the containers and networks whose label `OWNER` is `owner`; yields their names."""
    yield from _removed(client, f"{OWNER}={owner}", lambda _: True)


def _removed(
    client: docker.DockerClient, label: str, chosen: Callable[[Mapping[str, str]], bool]
) -> Iterator[str]:
    for container in client.containers.list(all=True, filters={"label": label}, ignore_removed=True):
        if chosen(container.labels):
            remove(container)
            yield str(container.name)
    for network in client.networks.list(filters={"label": label}):
        if chosen(network.attrs.get("Labels") or {}):
            remove_network(network)
            yield str(network.name)


def remove(container: docker.models.containers.Container) -> None:
    """End a container at once and remove it, with its anonymous volumes. It may be gone already."""
    try:
        container.remove(force=True, v=True)
    except docker.errors.APIError as error:
        if error.status_code not in {404, 409}:  # gone, or being removed by another process
            raise


def remove_network(network: docker.models.networks.Network) -> None:
    """Remove a network. It may be gone already, or a container may be leaving it at this moment."""
    try:
        network.remove()
    except docker.errors.APIError as error:
        if error.status_code not in {403, 404, 409}:
            raise


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())
