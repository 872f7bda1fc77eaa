"""What makes two images the same image.

An image's id is not it: on the containerd image store the id is the digest of a manifest or an index, on the classic
store the digest of the configuration, so that one tar has two ids. Layers and configuration are the same on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import digest


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Layers and configuration of an image."""

    layers: tuple[str, ...]
    """Digest of each uncompressed layer, the lowest first (`RootFS.Layers`)."""
    config: dict[str, Any]
    """The `Config` object, without fields that are empty."""

    @property
    def digest(self) -> str:
        """sha256 of both."""
        return digest(self)


def identity_of(inspected: Mapping[str, Any]) -> Identity:
    """The identity in an engine's answer to `inspect`. Raises `EvidenceError` if it has none."""
    layers = (inspected.get("RootFS") or {}).get("Layers")
    config = inspected.get("Config")
    if not isinstance(layers, list) or not layers or not isinstance(config, Mapping):
        raise EvidenceError(
            f"the image {inspected.get('Id')} has no layers or no configuration to be identified by"
        )
    return Identity(layers=tuple(layers), config=_plain(config))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` without what engines write differently: empty values, which one leaves out and another writes as null,
    false or an empty text, and the names of a single container."""
    return {name: value for name, value in config.items() if value and name not in _OF_A_CONTAINER}


_OF_A_CONTAINER = frozenset({"Hostname", "Image"})
"""The classic builder leaves the host name and the image of the container in which the last step ran."""
