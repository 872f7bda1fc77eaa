"""What lies in a folder of eval results, read without trusting any of it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, read_json, read_plain
from pytest_bench.lmeval.findings import Finding, error, excerpt, fail

METADATA = "meta_env.json"

_SUFFIX = re.compile(r"_conc([1-9][0-9]{0,17})\.json", re.ASCII)
_CLAIM = re.compile(r"_conc(?![A-Za-z])")


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One `results*.json` that is JSON, and an object."""

    name: str
    """Relative to the folder."""
    data: dict[str, Any]
    sha256: str

    @property
    def concurrency(self) -> int | None:
        """What its `_conc<N>` suffix says; None where there is none, or a malformed one."""
        name = PurePosixPath(self.name).name
        match = _SUFFIX.search(name)
        return int(match[1]) if match and name.endswith(match[0]) else None

    @property
    def has_suffix(self) -> bool:
        return has_suffix(self.name)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What was found."""

    path: Path
    metadata: dict[str, Any] | None
    """None where it cannot be used, which is then among the findings."""
    results: tuple[ResultFile, ...]
    names: tuple[str, ...]
    """Every result file by name, those that cannot be used included."""
    findings: tuple[Finding, ...] = field(default=())


def has_suffix(name: str) -> bool:
    """Whether a result file's name claims a concurrency, well or badly: not its folder's, which is a model's."""
    return _CLAIM.search(PurePosixPath(name).name) is not None


def read_folder(path: Path) -> Folder:
    """Read metadata and result files: `results*.json` there, and where there is none, one folder below."""
    findings: list[Finding] = []
    metadata = _metadata(path, findings)
    names = _result_names(path, findings)
    results = tuple(result for name in names if (result := _result(path, name, findings)) is not None)
    if not names and not findings:
        findings.append(error(str(path), "", "holds no results*.json: the eval left no result"))
    return Folder(path=path, metadata=metadata, results=results, names=tuple(names), findings=tuple(findings))


def _metadata(folder: Path, findings: list[Finding]) -> dict[str, Any] | None:
    if (folder / METADATA).is_symlink():
        findings.append(error(METADATA, "", "is a link, which evidence never holds"))
        return None
    try:
        raw = read_json(folder / METADATA)
    except EvidenceError as problem:
        findings.append(error(METADATA, "", str(problem).removeprefix(f"{folder / METADATA}: ")))
        return None
    if not isinstance(raw, dict):
        findings.append(error(METADATA, "", f"expected a JSON object, found {excerpt(raw)}"))
        return None
    return raw


def _result_names(folder: Path, findings: list[Finding]) -> list[str]:
    try:
        here = sorted(_matching(folder))
        below = [] if here else sorted(entry for entry in folder.iterdir() if _is_folder(entry))
        names = here or [f"{entry.name}/{name}" for entry in below for name in sorted(_matching(entry))]
        everywhere = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("results*.json"))
    except OSError as problem:
        findings.append(error(str(folder), "", f"cannot be listed: {problem.strerror or problem}"))
        return []
    findings.extend(
        fail(_show(name), "", "lies apart from the other results, where none was asked for")
        for name in everywhere
        if name not in names
    )
    findings.extend(
        fail(_show(name), "", "is a link or no plain file, which evidence never holds")
        for name in names
        if not _is_plain(folder / name)
    )
    return [name for name in names if _is_plain(folder / name)]


def _matching(folder: Path) -> Iterator[str]:
    return (entry.name for entry in folder.iterdir() if entry.match("results*.json"))


def _result(folder: Path, name: str, findings: list[Finding]) -> ResultFile | None:
    path = folder / name
    try:
        data = read_json(path)
        digest = hashlib.sha256(read_plain(path, LARGEST_JSON)).hexdigest()
    except (EvidenceError, OSError) as problem:
        findings.append(fail(_show(name), "", str(problem).removeprefix(f"{path}: ")))
        findings.extend(fail(_show(name), field, "is no finite number") for field in _not_finite(path))
        return None
    if not isinstance(data, dict):
        findings.append(fail(_show(name), "", f"expected a JSON object, found {excerpt(data)}"))
        return None
    return ResultFile(name=_show(name), data=data, sha256=digest)


def _not_finite(path: Path) -> Iterator[str]:
    """Fields of a file that hold NaN or an infinity, as Python writes them and no reader of JSON understands."""
    try:
        found = json.loads(read_plain(path, LARGEST_JSON))
    except (EvidenceError, OSError, ValueError, RecursionError):
        return
    parts = [("", found)]
    while parts:
        field, value = parts.pop()
        if isinstance(value, dict):
            parts += [(f"{field}.{name}" if field else name, part) for name, part in reversed(value.items())]
        elif isinstance(value, list):
            parts += [(f"{field}[{number}]", part) for number, part in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            yield field


def is_within(folder: Path, name: str) -> bool:
    """Whether `name` is a plain file of the folder, reached without a link."""
    here = folder
    parts = PurePosixPath(name).parts
    try:
        for part in parts[:-1]:
            here = here / part
            if not stat.S_ISDIR(here.lstat().st_mode):
                return False
    except (OSError, ValueError):
        return False
    return bool(parts) and _is_plain(here / parts[-1])


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _show(name: str) -> str:
    return name if name.isprintable() else json.dumps(name)
