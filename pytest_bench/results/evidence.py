"""The evidence of a point: a list of its files, written once and checked by every later judgement.

Only plain files found by walking the folder are opened. Links are refused, and a listed path cannot lead out of the
folder.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import file_digest, readable_json, write_atomic
from pytest_bench.results.reading import read_versioned
from pytest_bench.verdict.events import EvidenceCheck
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.wording import shown_name

EVIDENCE_VERSION = 1
NAME = "evidence.json"

_LARGEST_LIST = 64 << 20
"""Maximum size of `evidence.json` in bytes."""


class EvidenceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    """Relative to the evidence folder, with `/`."""
    size_bytes: int
    sha256: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `evidence.json`."""

    version: int = EVIDENCE_VERSION
    point: str
    point_digest: str
    """Digest of everything the point depends on."""
    nonce: str
    """Nonce of the session that measured the point."""
    outcome: Outcome
    files: tuple[EvidenceFile, ...]
    """Every other file of the folder."""


def write_evidence(
    folder: Path,
    *,
    point: str,
    point_digest: str,
    nonce: str,
    outcome: Outcome,
) -> str:
    """List every file of `folder` in its `evidence.json`, and return the sha256 of that file.

    Call it last, because files written later are not listed. Raises `EvidenceError` for a link or anything else that
    is not a plain file, and `OSError`.
    """
    problems: list[str] = []
    found = dict(walk(folder, "", problems))
    if problems:
        raise EvidenceError(f"{folder}: cannot be listed as evidence: {'; '.join(problems)}")
    found.pop(NAME, None)
    files = tuple(
        EvidenceFile(path=path, size_bytes=size, sha256=file_digest(folder / path))
        for path, size in sorted(found.items())
    )
    data = readable_json(
        Evidence(point=point, point_digest=point_digest, nonce=nonce, outcome=outcome, files=files)
    )
    return hashlib.sha256(write_atomic(folder / NAME, data)).hexdigest()


def check_evidence(folder: Path, *, path: str, point: str) -> EvidenceCheck:
    """Check the evidence of `point` in `folder`, whose path in the results folder is `path`.

    Does not raise: `errors` contains a sentence for each problem. The ledger decides whether this is the evidence of
    the right point and session.
    """
    errors: list[str] = []
    found = dict(walk(folder, "", errors))
    try:
        evidence, digest = _read(folder, found.pop(NAME, None))
    except EvidenceError as error:
        others = (f"{path}/{sentence}" for sentence in errors)
        return EvidenceCheck(point=point, path=path, errors=(str(error), *others))
    errors.extend(_listing_errors(evidence))
    listed = {file.path: file for file in evidence.files}
    errors.extend(
        f"{shown_name(name)}: is listed, but does not exist" for name in sorted(listed.keys() - found.keys())
    )
    errors.extend(
        f"{shown_name(name)}: is not listed: it was added after the point had finished"
        for name in sorted(found.keys() - listed.keys())
    )
    for name in sorted(listed.keys() & found.keys()):
        errors.extend(_file_errors(folder / name, listed[name], found[name]))
    return EvidenceCheck(
        point=evidence.point,
        path=path,
        nonce=evidence.nonce,
        point_digest=evidence.point_digest,
        outcome=evidence.outcome,
        digest=digest,
        errors=tuple(f"{path}/{sentence}" for sentence in errors),
    )


def walk(folder: Path, prefix: str, problems: list[str]) -> Iterator[tuple[str, int]]:
    """Yield relative path and size in bytes of every plain file below `folder`; append a problem for anything else."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            name = prefix + entry.name
            mode = entry.stat(follow_symlinks=False)
            if not _is_text(name):
                problems.append(f"{shown_name(name)}: its name is not UTF-8")
            elif stat.S_ISDIR(mode.st_mode):
                yield from walk(folder / entry.name, f"{name}/", problems)
            elif stat.S_ISREG(mode.st_mode):
                yield name, mode.st_size
            else:
                problems.append(
                    f"{shown_name(name)}: is a link or not a plain file; evidence contains only plain files"
                )
    except OSError as error:
        problems.append(f"{prefix or '.'}: cannot be listed: {error.strerror or error}")


def _read(folder: Path, size: int | None) -> tuple[Evidence, str]:
    path = folder / NAME
    if size is None:
        raise EvidenceError(f"{path}: is missing or not a plain file: the point has no evidence")
    if size > _LARGEST_LIST:
        raise EvidenceError(f"{path}: is {size} bytes long; expected at most {_LARGEST_LIST}")
    evidence = read_versioned(path, Evidence, EVIDENCE_VERSION)
    try:
        return evidence, file_digest(path)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read: {error.strerror or error}") from error


def _listing_errors(evidence: Evidence) -> Iterator[str]:
    for name, times in Counter(file.path for file in evidence.files).items():
        if times > 1:
            yield f"{NAME}: lists {shown_name(name)} {times} times"
        parts = PurePosixPath(name).parts
        if name != "/".join(parts) or not parts or ".." in parts or parts[0] == "/" or "\0" in name:
            yield f"{NAME}: lists {shown_name(name)}: expected a path within the folder"


def _file_errors(path: Path, listed: EvidenceFile, size: int) -> Iterator[str]:
    name = shown_name(listed.path)
    if size != listed.size_bytes:
        yield f"{name}: is {size} bytes long, but was {listed.size_bytes} when it was written"
        return
    try:
        digest = file_digest(path)
    except OSError as error:
        yield f"{name}: cannot be read: {error.strerror or error}"
        return
    if digest != listed.sha256:
        yield f"{name}: was altered: its sha256 is {digest}, but was {listed.sha256} when it was written"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
