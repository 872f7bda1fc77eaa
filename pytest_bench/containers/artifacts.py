"""Files that are copied out of a container."""

from __future__ import annotations

import fnmatch
import hashlib
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import docker
import docker.errors
import msgspec
import requests

_LARGEST_FILE = 1 << 30
_CHUNK = 1 << 20


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file from the container."""

    source: str
    """Path in the container."""
    path: str
    """Path in the folder of the deployment."""
    size_bytes: int
    sha256: str


def copy_out(
    container: docker.models.containers.Container, patterns: Sequence[str], folder: Path, problems: list[str]
) -> Iterator[Artifact]:
    """Copy the files that match `patterns` into `folder`, below their own paths.

    The container may have ended. A pattern that matches nothing, a file that is too large and whatever the engine
    refuses is recorded in `problems`: what can be copied is copied.
    """
    by_folder: dict[str, list[str]] = {}
    for pattern in patterns:
        where, _, name = pattern.rpartition("/")
        by_folder.setdefault(where or "/", []).append(name)
    for where, names in by_folder.items():
        left = set(names)
        try:
            for entry, stream in _files(container, where):
                matching = {name for name in names if fnmatch.fnmatchcase(entry.name, name)}
                if not matching:
                    continue
                left -= matching
                source = f"{where.rstrip('/')}/{entry.name}"
                if entry.size > _LARGEST_FILE:
                    problems.append(f"{source}: is {entry.size} bytes long; expected at most {_LARGEST_FILE}")
                    continue
                yield _copied(stream, source, folder)
        except docker.errors.NotFound:
            problems.append(f"{where}: does not exist in the container")
            continue
        except (docker.errors.DockerException, requests.RequestException, tarfile.TarError, OSError) as error:
            problems.append(f"{where}: could not be copied: {error}")
            continue
        problems += [f"{where.rstrip('/')}/{name}: matches no file of the container" for name in sorted(left)]


def _files(
    container: docker.models.containers.Container, folder: str
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The plain files directly in a folder of the container, with names relative to it."""
    chunks, _ = container.get_archive(folder, chunk_size=_CHUNK)
    with tempfile.TemporaryFile() as spool:
        for chunk in chunks:
            spool.write(chunk)
        spool.seek(0)
        with tarfile.open(fileobj=spool) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if member.isfile() and len(parts) == 2 and (stream := archive.extractfile(member)):
                    member.name = parts[1]
                    yield member, stream


def _copied(stream: IO[bytes], source: str, folder: Path) -> Artifact:
    path = folder / source.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    hasher, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        while data := stream.read(_CHUNK):
            file.write(data)
            hasher.update(data)
            size += len(data)
    return Artifact(
        source=source,
        path=f"{folder.name}/{source.lstrip('/')}",
        size_bytes=size,
        sha256=hasher.hexdigest(),
    )
