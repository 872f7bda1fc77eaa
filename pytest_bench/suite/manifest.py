"""madengine's build manifest: what a builder node resolved, for nodes that run it.

Two keyings exist. `built_images` is keyed by image if madengine built it, and by the name of the model if it was given
an existing image (`local_image`, `prebuilt`). `built_models` has the same keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_bench.errors import SuiteError
from pytest_bench.files import read_json

NOT_USED = ("tools", "pre_scripts", "post_scripts", "encapsulate_script")
"""Keys of the context that change how madengine itself runs a model."""

Text = Annotated[str, Field(strict=True)]
FromEnvironment = dict[str, Text]
"""`{"from_env": NAME}`: a secret that is read where it is used."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @property
    def others(self) -> dict[str, Any]:
        """Keys that this project does not know, kept as they are."""
        return dict(self.model_extra or {})


class BuiltImage(_Part):
    docker_image: Text | None = None
    image_name: Text | None = None
    registry_image: Text | None = None
    local_image: bool = False
    prebuilt: bool = False
    push_failed: bool = False


class Context(_Part):
    """What the builder resolved for containers. None: the manifest does not say."""

    docker_env_vars: dict[str, Text | FromEnvironment] = {}
    docker_mounts: dict[str, Text] = {}
    docker_build_arg: dict[str, Text | FromEnvironment] = {}
    docker_gpus: Text | None = None
    gpu_vendor: Text | None = None
    guest_os: Text | None = None

    @property
    def not_used(self) -> tuple[str, ...]:
        """Keys with a value that do not affect what this project runs, to be named."""
        return tuple(name for name in NOT_USED if self.others.get(name))


class PushFailure(_Part):
    image: Text
    error: Text | None = None


class Manifest(_Part):
    built_images: dict[str, BuiltImage]
    built_models: dict[str, dict[str, Any]] = {}
    context: Context = Context()
    deployment_config: dict[str, Any] = {}
    credentials_required: list[Text] = []
    summary: dict[str, Any] = {}
    push_failures: list[PushFailure] = []


class Image(BaseModel):
    """One image to run, whichever keying named it."""

    model_config = ConfigDict(frozen=True)

    key: str
    reference: str
    """What other nodes run: the registry's name if the image was pushed there."""
    only_on_builder: bool
    """Whether other nodes can get it only as a file."""
    model: dict[str, Any] | None


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file. Raises `EvidenceError` if it is not JSON, and `SuiteError` if it is not a manifest."""
    return parse_manifest(read_json(path), str(path))


def parse_manifest(value: object, where: str) -> Manifest:
    """Check a decoded manifest. Raises `SuiteError` with a JSON pointer for every problem."""
    try:
        manifest = Manifest.model_validate(value)
    except ValidationError as error:
        raise SuiteError(
            [f"{where}#{_pointer(each['loc'])}: {each['msg']}" for each in error.errors()], f"in {where}"
        ) from error
    problems = [
        f"{where}#{_pointer(('built_models', key))}: has no image of this key in /built_images"
        for key in manifest.built_models.keys() - manifest.built_images.keys()
    ]
    problems += [
        f"{where}#{_pointer(('built_images', key, 'docker_image'))}: expected the name of the image, because the key "
        "names the model"
        for key, image in manifest.built_images.items()
        if (image.local_image or image.prebuilt) and not (image.docker_image or image.image_name)
    ]
    if problems:
        raise SuiteError(sorted(problems), f"in {where}")
    return manifest


def images(manifest: Manifest) -> tuple[Image, ...]:
    """Return the images to run, in the order of the manifest."""
    failed = {failure.image for failure in manifest.push_failures}
    return tuple(_image(manifest, key, built, failed) for key, built in manifest.built_images.items())


def _image(manifest: Manifest, key: str, built: BuiltImage, failed: set[str]) -> Image:
    is_given = built.local_image or built.prebuilt
    is_pushed = built.registry_image is not None and not built.push_failed and key not in failed
    own = built.docker_image or built.image_name or key
    return Image(
        key=key,
        reference=built.registry_image if built.registry_image and is_pushed else own,
        only_on_builder=not (is_given or is_pushed),
        model=manifest.built_models.get(key),
    )


def _pointer(location: tuple[int | str, ...]) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
