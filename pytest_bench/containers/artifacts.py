"""Files that are copied out of a container."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

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
    for where, names in by_folder(patterns).items():
        try:
            for source, size, stream in matching_files(container, where, names, problems):
                if size > _LARGEST_FILE:
                    problems.append(f"{source}: is {size} bytes long; expected at most {_LARGEST_FILE}")
                    continue
                yield _copied(stream, source, folder)
        except OSError as error:
            problems.append(f"{where}: could not be copied: {error}")


def by_folder(patterns: Sequence[str]) -> dict[str, list[str]]:
    """The patterns of names in each folder."""
    found: dict[str, list[str]] = {}
    for pattern in patterns:
        where, _, name = pattern.rpartition("/")
        found.setdefault(where or "/", []).append(name)
    return found


def matching_files(
    container: docker.models.containers.Container, folder: str, names: Sequence[str], problems: list[str]
) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Path, size and content of the plain files directly in a folder of a container whose names match.

    A content is read before the next file is asked for. A name that matches nothing is recorded in `problems`, and so
    is what the engine refuses.
    """
    left = set(names)
    try:
        chunks, _ = container.get_archive(folder, chunk_size=_CHUNK)
        with tarfile.open(fileobj=io.BufferedReader(_Stream(chunks)), mode="r|") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if not member.isfile() or len(parts) != 2:
                    continue
                matching = {name for name in names if fnmatch.fnmatchcase(parts[1], name)}
                left -= matching
                if matching and (stream := archive.extractfile(member)):
                    yield f"{folder.rstrip('/')}/{parts[1]}", member.size, stream
    except docker.errors.NotFound:
        problems.append(f"{folder}: does not exist in the container")
    except (docker.errors.DockerException, requests.RequestException, tarfile.TarError) as error:
        problems.append(f"{folder}: could not be read: {error}")
    else:
        problems += [
            f"{folder.rstrip('/')}/{name}: matches no file of the container" for name in sorted(left)
        ]


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._chunks, b"")
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


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
