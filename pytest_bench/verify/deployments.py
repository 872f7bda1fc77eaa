"""Compares what containers left in a results folder with the session, and with what their evidence states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, file_digest, read_plain
from pytest_bench.results.layout import DEPLOYMENTS

_NAME = "container.json"


class _File(msgspec.Struct, frozen=True):
    path: str
    sha256: str


class _Container(msgspec.Struct, frozen=True):
    """The part of `container.json` that is compared."""

    nonce: str
    log: _File | None = None
    artifacts: tuple[_File, ...] = ()


def of_other_sessions(results: Path, nonce: str) -> Iterator[str]:
    """Yield a sentence for each `container.json` of another session than `nonce`, and for each log or artifact that is
    not the file that it names."""
    for path in sorted((results / DEPLOYMENTS).rglob(_NAME)):
        try:
            container = msgspec.json.decode(read_plain(path, LARGEST_JSON), type=_Container)
        except (msgspec.MsgspecError, EvidenceError, OSError) as error:
            yield f"{path}: is not the evidence of a container: {error}"
            continue
        if container.nonce != nonce:
            yield f"{path}: is of session {container.nonce}; expected {nonce}"
        for file in (*([container.log] if container.log else []), *container.artifacts):
            if _digest(path.parent, file.path) != file.sha256:
                yield f"{path.parent / file.path}: is not the file whose sha256 {_NAME} states"


def _digest(folder: Path, name: str) -> str | None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        return None
    try:
        return file_digest(path)
    except OSError:
        return None
