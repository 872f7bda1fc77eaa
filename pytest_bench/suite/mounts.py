"""What is mounted into a container: one mount for each target."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from pytest_bench.suite.container_plan import Mount


def normalised(target: str) -> str:
    """An absolute path in the container without trailing slashes, `.` and `..`. Raises `ValueError` for another."""
    if not target.startswith("/") or "\0" in target:
        raise ValueError(f"{target!r} is not an absolute path in the container")
    path = posixpath.normpath(target)
    return "/" + path.lstrip("/")


def merged(mounts: Iterable[tuple[Mount, str]]) -> tuple[tuple[Mount, ...], list[str]]:
    """One mount for each target, in the order given, and a sentence for each conflict.

    Each mount comes with its origin. Identical mounts are merged; two different mounts of one target are a conflict,
    because Docker would silently use one of them.
    """
    chosen: dict[str, tuple[Mount, str]] = {}
    conflicts = []
    for mount, origin in mounts:
        first, first_origin = chosen.setdefault(mount.target, (mount, origin))
        if first != mount:
            conflicts.append(
                f"mounts {mount.target} twice: {described(first)} ({first_origin}) and {described(mount)} ({origin})"
            )
    return tuple(mount for mount, _ in chosen.values()), conflicts


def described(mount: Mount) -> str:
    """A mount as a message shows it."""
    source = mount.source or ("tmpfs" if mount.size_bytes is None else f"tmpfs of {mount.size_bytes} bytes")
    return f"{source} read-only" if mount.read_only else source


def merged_for_model(
    own: Iterable[tuple[Mount, str]], context: Iterable[tuple[Mount, str]]
) -> tuple[tuple[Mount, ...], list[str], list[str]]:
    """The mounts of a model in a restored manifest, conflicts as in `merged`, and a sentence for each replaced mount.

    A mount of the model's own replaces one of the context at the same target.
    """
    mine, conflicts = merged(own)
    targets = {mount.target: mount for mount in mine}
    kept: list[tuple[Mount, str]] = []
    replaced = []
    for mount, origin in context:
        instead = targets.get(mount.target)
        if instead is None:
            kept.append((mount, origin))
        elif instead != mount:
            replaced.append(
                f"{mount.target} is {described(instead)}, the model's own mount, instead of {described(mount)} "
                f"({origin})"
            )
    others, more = merged(kept)
    return (*mine, *others), [*conflicts, *more], replaced
