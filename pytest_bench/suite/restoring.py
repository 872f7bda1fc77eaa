"""What a node runs with, restored from several sources. Pure.

A source earlier in the list wins: the command line, the runtime's and Slurm's environment, the manifest, the defaults.
A source fills only keys that no earlier one set.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from pytest_bench.errors import UsageError
from pytest_bench.suite.manifest import Context
from pytest_bench.suite.secret import Secret, holds_key

MAPPINGS = ("docker_env_vars", "docker_mounts", "docker_build_arg")
SCALARS = ("docker_gpus", "gpu_vendor", "guest_os")

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Values of one source, by key: `gpu_vendor`, or `docker_env_vars.NAME`."""

    name: str
    """For messages: `command line`, `build_manifest.json`, ..."""
    values: Mapping[str, str | Secret]


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    values: dict[str, str | Secret]
    sources: dict[str, str]
    """Name of the source of each value."""
    unresolved: dict[str, str]
    """Keys left out because a placeholder has no value, each with where it was and what it names."""


def manifest_source(context: Context, name: str) -> Source:
    """Return what a manifest sets."""
    values: dict[str, str | Secret] = {}
    for mapping in MAPPINGS:
        for key, value in getattr(context, mapping).items():
            values[f"{mapping}.{key}"] = (
                value if isinstance(value, str) else _secret(f"{mapping}.{key}", value, name)
            )
    for key in SCALARS:
        value = getattr(context, key)
        if value is not None:
            values[key] = value
    return Source(name=name, values=values)


def restore(
    sources: Sequence[Source], environ: Mapping[str, str], required: Collection[str] = ()
) -> Restored:
    """Merge `sources`, the strongest first. `${NAME}` in a value is taken from `environ`.

    A value whose placeholders cannot be replaced counts as not set, so a weaker source may set the key. An empty value
    is a value. A value that holds a key becomes a `Secret`, whatever a source says. Raises `UsageError` for a required
    key without a value, and for a key within other text.
    """
    restored = Restored(values={}, sources={}, unresolved={})
    for source in sources:
        for key, value in source.values.items():
            if key in restored.values:
                continue
            found = _resolved(key, value, environ, source.name)
            if found is None:
                names = ", ".join(name for name in _PLACEHOLDER.findall(str(value)) if name not in environ)
                restored.unresolved.setdefault(key, f"{source.name}: {names} not set")
            else:
                restored.values[key], restored.sources[key] = found, source.name
    for key in restored.values:
        restored.unresolved.pop(key, None)
    problems = [
        f"{key}: required, but "
        + restored.unresolved.get(key, f"not set by {', '.join(each.name for each in sources)}")
        for key in required
        if key not in restored.values
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return restored


def _resolved(key: str, value: str | Secret, environ: Mapping[str, str], source: str) -> str | Secret | None:
    """Return the value with its placeholders replaced; None if one of them has no value."""
    if isinstance(value, Secret):
        return value
    names = _PLACEHOLDER.findall(value)
    keys = [name for name in names if holds_key(name)]
    if keys and value == f"${{{keys[0]}}}":
        return Secret(from_env=keys[0])
    if keys:
        raise UsageError(
            f"{key} ({source}): holds the key {', '.join(keys)} within other text, and would be written in the "
            "clear; use ${NAME} alone as the value"
        )
    name = key.rpartition(".")[2]
    if key.partition(".")[0] != "docker_mounts" and holds_key(name):
        return Secret(from_env=name)
    if any(each not in environ for each in names):
        return None
    return _PLACEHOLDER.sub(lambda found: environ[found[1]], value)


def _secret(key: str, value: Mapping[str, str], source: str) -> Secret:
    if set(value) != {"from_env"} or not value["from_env"]:
        raise UsageError(f"{key} ({source}): expected text, or an object with only `from_env`")
    return Secret(from_env=value["from_env"])
