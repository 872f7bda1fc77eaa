"""What a manifest of madengine's contributes to a container: image, environment, mounts, build arguments and GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from pytest_bench.errors import EvidenceError, SuiteError, UsageError
from pytest_bench.suite.container_plan import ManifestUsed, Mount
from pytest_bench.suite.container_schema import ManifestSection
from pytest_bench.suite.context import Context
from pytest_bench.suite.docker_options import DockerOptions, taken_over
from pytest_bench.suite.document import Path as Where
from pytest_bench.suite.gpu_list import expanded
from pytest_bench.suite.manifest import Image, Manifest, images, read_manifest
from pytest_bench.suite.mounts import merged_for_model, normalised
from pytest_bench.suite.restoring import Restored, Source, manifest_source, restore
from pytest_bench.suite.secret import Secret
from pytest_bench.wording import did_you_mean, one_of

_OPTIONS = "additional_docker_run_options"
_RENDER_NODES = "gpu_renderDs"
_NOT_USED = ("guest_os", "credentials_required", "deployment_config")


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """What a container gets from a manifest, apart from what it sets itself."""

    image: str | None = None
    is_local: bool = False
    """Only the node that built the image has it."""
    environment: dict[str, str | Secret] = {}
    mounts: tuple[Mount, ...] = ()
    replaced_mounts: tuple[str, ...] = ()
    build_arguments: dict[str, str] = {}
    gpus: tuple[str, ...] | Literal["all"] | None = None
    devices: tuple[str, ...] = ()
    used: ManifestUsed | None = None


class Own(NamedTuple):
    """What the suite sets for the container, which a manifest does not replace."""

    variables: frozenset[str]
    required: tuple[str, ...]
    """Variables that the manifest must provide."""
    targets: frozenset[str]
    build_arguments: frozenset[str]
    has_gpus: bool


def contribution(context: Context, section: ManifestSection | None, path: Where, own: Own) -> Contribution:
    """Read the manifest. Problems are recorded in `context`, each of its content with a JSON pointer."""
    if section is None:
        return Contribution()
    file = context.file((*path, "path"), section.path)
    try:
        manifest = read_manifest(file)
        image = _chosen(context, section, path, manifest)
        return Contribution() if image is None else _contributed(context, file.name, manifest, image, own)
    except SuiteError as error:
        for problem in error.problems:
            context.problem((*path, "path"), problem)
    except (UsageError, EvidenceError, ValueError) as error:
        context.problem((*path, "path"), f"cannot be used: {error}")
    return Contribution()


def _chosen(context: Context, section: ManifestSection, path: Where, manifest: Manifest) -> Image | None:
    found = {image.key: image for image in images(manifest)}
    if section.image is None and len(found) == 1:
        return next(iter(found.values()))
    if section.image in found:
        return found[section.image]
    asked = "names no image" if section.image is None else f"names the image {section.image!r}"
    context.problem(
        path,
        f"{asked}, and the manifest has {one_of(sorted(found)) if found else 'none'}; expected `image:` to be one of "
        f"them{did_you_mean(section.image or '', found)}",
    )
    return None


def _contributed(context: Context, name: str, manifest: Manifest, image: Image, own: Own) -> Contribution:
    found = manifest_source(manifest.context, name)
    options = (image.model or {}).get(_OPTIONS)
    if options:
        found = Source(name=name, values={**found.values, _OPTIONS: str(options)})
    restored = restore(
        [Source(name="the suite", values=dict.fromkeys(_set_by_suite(found, own), "")), found],
        context.environ,
        [f"docker_env_vars.{variable}" for variable in own.required],
    )
    filled = {key: value for key, value in restored.values.items() if restored.sources[key] == name}
    for key, value in filled.items():
        if isinstance(value, Secret) and not key.startswith("docker_env_vars."):
            raise UsageError(f"{key} holds a key, which only a variable of the container may")
    model = taken_over(str(filled.get(_OPTIONS, "")))
    mounts, conflicts, replaced = merged_for_model(
        [(mount, _OPTIONS) for mount in model.mounts],
        [
            (Mount(target=normalised(target), source=str(value)), f"{name}#/context/docker_mounts")
            for target, value in _part(filled, "docker_mounts").items()
        ],
    )
    if conflicts:
        raise UsageError("; ".join(conflicts))
    gpus, devices = _gpus(manifest, filled)
    return Contribution(
        image=image.reference,
        is_local=image.only_on_builder,
        environment=_part(filled, "docker_env_vars"),
        mounts=tuple(mount for mount in mounts if mount.target not in own.targets),
        replaced_mounts=tuple(replaced),
        build_arguments=_part(filled, "docker_build_arg"),
        gpus=gpus,
        devices=devices,
        used=ManifestUsed(
            image=image.key,
            filled=tuple(sorted(filled.keys() - set(_NOT_USED))),
            unresolved=restored.unresolved,
            not_used=_not_used(manifest, restored, model),
        ),
    )


def _set_by_suite(found: Source, own: Own) -> list[str]:
    """The keys of the manifest for which the suite has a value of its own."""
    keys = [f"docker_env_vars.{variable}" for variable in own.variables]
    keys += [f"docker_build_arg.{argument}" for argument in own.build_arguments]
    for key in found.values:
        part, _, target = key.partition(".")
        if part == "docker_mounts" and normalised(target) in own.targets:
            keys.append(key)
    return [*keys, "docker_gpus"] if own.has_gpus else keys


def _part(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The values of one mapping of the manifest, by their own names."""
    prefix = f"{part}."
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}


def _gpus(
    manifest: Manifest, filled: Mapping[str, str | Secret]
) -> tuple[tuple[str, ...] | Literal["all"] | None, tuple[str, ...]]:
    """NVIDIA GPUs, or the device nodes of AMD GPUs. Raises `UsageError` for an unknown vendor."""
    asked, vendor = str(filled.get("docker_gpus", "")), str(filled.get("gpu_vendor", ""))
    if not asked:
        return None, ()
    if vendor == "NVIDIA":
        return "all" if asked == "all" else tuple(expanded(asked)), ()
    if vendor != "AMD":
        raise UsageError(
            f"docker_gpus is {asked!r} and gpu_vendor {vendor or 'not set'!r}; expected 'AMD' or 'NVIDIA'"
        )
    nodes = manifest.context.others.get(_RENDER_NODES)
    if nodes is None or asked == "all":
        return None, ("/dev/kfd", "/dev/dri/renderD*")
    try:
        return None, ("/dev/kfd", *(f"/dev/dri/renderD{int(nodes[int(gpu)])}" for gpu in expanded(asked)))
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"docker_gpus is {asked!r}, but {_RENDER_NODES} is {nodes!r}; expected a list with the number of the "
            "render node of each GPU"
        ) from error


def _not_used(manifest: Manifest, restored: Restored, model: DockerOptions) -> tuple[str, ...]:
    """Names of what has a value and no effect."""
    kept = {name for name in _NOT_USED if getattr(manifest, name, None) or name in restored.values}
    options = [f"{_OPTIONS}: {' '.join(model.rest)}"] if model.rest else []
    return (*manifest.context.not_used, *sorted(kept), *options)
