"""Images as files in a folder that nodes share.

An entry is two files: the image as the engine saves it, and a sidecar that is published last. A file without a sidecar
is not an entry. Both are written under temporary names and renamed, so that readers and several writers need no lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import docker.errors
import msgspec
import requests

from pytest_bench import clock
from pytest_bench.containers.engine import ContainerError, api_errors
from pytest_bench.containers.identity import Identity, identity_of
from pytest_bench.errors import EvidenceError
from pytest_bench.files import file_digest, fsync_folder, read_json, write_json

VERSION = 1
_MODE = 0o644
_CHUNK = 4 << 20
_QUARANTINED = ".lost"
"""Suffix of the sidecar of a corrupt file."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of a sidecar."""

    version: int = VERSION
    reference: str
    identity: str
    """Digest of layers and configuration (`Identity.digest`)."""
    layers: tuple[str, ...]
    image_id: str
    """On the engine that saved it."""
    size_bytes: int
    sha256: str
    """Of the file."""
    fingerprint: str
    """Of the build that made the image; empty if it was not built here."""
    producer: str
    """Host that saved it."""
    saved: str
    """ISO 8601, UTC."""


class ImageCache:
    """A folder of saved images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, reference: str, fingerprint: str) -> Entry | None:
        """The newest entry of a reference from the same build. Raises `ContainerError` for a bad sidecar."""
        entries = [
            entry
            for entry in self._entries(reference)
            if entry.fingerprint == fingerprint and self.path(entry).exists()
        ]
        return max(entries, key=lambda entry: entry.saved, default=None)

    def entry_of(self, path: Path) -> Entry | None:
        """The entry of a saved image; None if there is none, or if it cannot be seen yet."""
        entry = _sidecar(path.with_suffix(".json"))
        return entry if entry is not None and path.exists() else None

    def path(self, entry: Entry) -> Path:
        """The file with the image. Engines save one image as different bytes, so the name holds their digest, too."""
        return self.folder / f"{_key(entry.reference)}-{entry.identity[:16]}-{entry.sha256[:16]}.tar"

    def save(self, client: docker.DockerClient, reference: str, image_id: str, fingerprint: str) -> Entry:
        """Save an image, and publish its sidecar. Raises `ContainerError` if the engine or the folder refuses."""
        with api_errors(f"the image {reference} could not be saved"):
            image = client.images.get(image_id)
            identity = identity_of(image.attrs)
            chunks = image.save(chunk_size=_CHUNK)
            try:
                return self._publish(chunks, reference, str(image.id), identity, fingerprint)
            except OSError as error:
                raise ContainerError(
                    f"the image {reference} could not be saved: {error}; make {self.folder} writable and free space "
                    "there, or leave out image_cache"
                ) from error

    def load(self, client: docker.DockerClient, entry: Entry) -> str:
        """Load an entry, unless the engine has the image, and return the id that this engine gives it.

        Raises `Corrupt` if the file or what is loaded from it is not what the sidecar says.
        """
        with api_errors(f"the image {entry.image_id}"), contextlib.suppress(docker.errors.ImageNotFound):
            if has_identity(client.images.get(entry.image_id).attrs, entry.identity):
                return entry.image_id
        path = self.path(entry)
        try:
            size = path.stat().st_size
            if size != entry.size_bytes:
                raise Corrupt(f"{path}: is {size} bytes long; its sidecar says {entry.size_bytes}")
            if file_digest(path) != entry.sha256:
                raise Corrupt(f"{path}: has another sha256 than its sidecar says")
            with path.open("rb") as stream:
                loaded = client.images.load(stream)
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            raise Corrupt(f"{path}: could not be loaded: {error}") from error
        for image in loaded:
            if has_identity(image.attrs, entry.identity):
                return str(image.id)
        raise Corrupt(f"{path}: holds another image than its sidecar says")

    def quarantine(self, entry: Entry) -> None:
        """Rename a corrupt file and its sidecar, so that it is not loaded again. They may be gone already."""
        path = self.path(entry)
        for suffix, renamed in ((".json", _QUARANTINED), (".tar", ".corrupt")):
            with contextlib.suppress(FileNotFoundError):
                path.with_suffix(suffix).rename(path.with_suffix(renamed))

    def require_same(self, reference: str, fingerprint: str, identity: str) -> None:
        """Compare an image that stands in for quarantined ones with them.

        Raises `ContainerError` if it is another one.
        """
        for entry in self._lost(reference, fingerprint):
            if entry.identity != identity:
                sidecar = self.path(entry).with_suffix(_QUARANTINED)
                raise ContainerError(
                    f"the image {reference} is another one than its damaged file in the cache held: its layers and "
                    f"configuration have the digest {identity}; expected {entry.identity} ({sidecar}). Next: to use "
                    "the new image from now on, on every node, remove that sidecar"
                )

    def forget(self, reference: str, fingerprint: str) -> None:
        """Remove the sidecars of quarantined images, of which the same image is saved again."""
        for entry in self._lost(reference, fingerprint):
            self.path(entry).with_suffix(_QUARANTINED).unlink(missing_ok=True)

    def _lost(self, reference: str, fingerprint: str) -> list[Entry]:
        return [entry for entry in self._entries(reference, _QUARANTINED) if entry.fingerprint == fingerprint]

    def _entries(self, reference: str, suffix: str = ".json") -> Iterator[Entry]:
        for path in sorted(self.folder.glob(f"{_key(reference)}-*{suffix}")):
            if (entry := _sidecar(path)) is not None:
                yield entry

    def _publish(
        self, chunks: Iterator[bytes], reference: str, image_id: str, identity: Identity, fingerprint: str
    ) -> Entry:
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{platform.node()}.{os.getpid()}.{uuid.uuid4().hex}.tmp"
        hasher, size = hashlib.sha256(), 0
        try:
            with temporary.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
                    hasher.update(chunk)
                    size += len(chunk)
                os.fchmod(file.fileno(), _MODE)
                file.flush()
                os.fsync(file.fileno())
            entry = Entry(
                reference=reference,
                identity=identity.digest,
                layers=identity.layers,
                image_id=image_id,
                size_bytes=size,
                sha256=hasher.hexdigest(),
                fingerprint=fingerprint,
                producer=platform.node(),
                saved=clock.utc_now(),
            )
            temporary.rename(self.path(entry))
        finally:
            temporary.unlink(missing_ok=True)
        fsync_folder(self.folder)
        sidecar = self.path(entry).with_suffix(".json")
        write_json(sidecar, entry)
        sidecar.chmod(_MODE)
        return entry


class Corrupt(ContainerError):
    """A saved image is damaged, or is another one than its sidecar says."""


def _sidecar(path: Path) -> Entry | None:
    """Content of a sidecar; None if it has been removed."""
    try:
        return msgspec.convert(read_json(path), Entry)
    except (EvidenceError, msgspec.ValidationError) as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise ContainerError(f"{path}: is not the sidecar of an image: {error}; remove it") from error


def has_identity(inspected: Mapping[str, Any], identity: str) -> bool:
    """Whether an image is the one with this digest of layers and configuration."""
    return identity_of(inspected).digest == identity


def _key(reference: str) -> str:
    """A file name for a reference: readable, and different for different references."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", reference)[:80].strip(".")
    return f"{readable}-{hashlib.sha256(reference.encode()).hexdigest()[:16]}"
