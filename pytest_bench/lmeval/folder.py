"""Read a folder of eval results without trusting its contents."""

from __future__ import annotations

import hashlib
import json
import math
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, read_json, read_plain
from pytest_bench.lmeval.findings import Finding, error, excerpt, fail
from pytest_bench.wording import first_of, shown_name

METADATA = "meta_env.json"

TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}(?:\.[0-9]{1,6})?"
"""The time in names of files, as lm-eval writes it: ISO 8601 with hyphens in place of colons."""
SUFFIX = r"_conc([1-9][0-9]{0,17})(?:_([1-9][0-9]{0,17}))?"
"""What InferenceX appends to names: the concurrency, and from the second file of one name on its number."""

_SHOWN = 5
_SUFFIX = re.compile(SUFFIX + r"\.json", re.ASCII)
_CLAIM = re.compile(r"_conc(?![A-Za-z])")
_NAMED_RESULT = re.compile(rf".+_{TIME}(?:_conc[^A-Za-z]*)?\.json", re.ASCII)
"""A result of `--output_path NAME.json`: `NAME_<time>.json`."""


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """One result file that holds a JSON object."""

    name: str
    """Relative to the folder."""
    data: dict[str, Any]
    sha256: str

    @property
    def concurrency(self) -> int | None:
        """The concurrency in its `_conc<N>` suffix; None if there is none, or a malformed one."""
        match = self._suffix()
        return int(match[1]) if match else None

    @property
    def number(self) -> int:
        """1, or the number of a further result of one concurrency: 2 for `_conc4_2.json`."""
        match = self._suffix()
        return int(match[2] or 1) if match else 1

    @property
    def suffix(self) -> str:
        """The suffix that its sample files share; empty if there is none."""
        match = self._suffix()
        return match[0].removesuffix(".json") if match else ""

    @property
    def has_suffix(self) -> bool:
        return has_suffix(self.name)

    def _suffix(self) -> re.Match[str] | None:
        name = PurePosixPath(self.name).name
        match = _SUFFIX.search(name)
        return match if match and name.endswith(match[0]) else None


@dataclass(frozen=True, kw_only=True)
class Folder:
    """The contents of a folder."""

    path: Path
    metadata: dict[str, Any] | None
    """None if it cannot be used; the reason is in `findings`."""
    results: tuple[ResultFile, ...]
    names: tuple[str, ...]
    """The name of every result file, including those that cannot be used."""
    findings: tuple[Finding, ...] = field(default=())


def has_suffix(name: str) -> bool:
    """Whether a result file's own name states a concurrency, well-formed or not."""
    return _CLAIM.search(PurePosixPath(name).name) is not None


def is_result_name(name: str) -> bool:
    """Whether lm-eval may have given a result file this name."""
    return PurePosixPath(name).match("results*.json") or _NAMED_RESULT.fullmatch(name) is not None


def read_folder(path: Path) -> Folder:
    """Read metadata and result files.

    Result files are `results*.json` in the folder, or one folder below if there is none. If there is none there
    either, they are files named `<output path>_<time>.json`.
    """
    findings: list[Finding] = []
    metadata = _metadata(path, findings)
    names = _result_names(path, findings)
    results = tuple(result for name in names if (result := _result(path, name, findings)) is not None)
    if not names and not findings:
        findings.append(
            error(str(path), "", f"holds no results*.json: the eval left no result{_others(path)}")
        )
    return Folder(path=path, metadata=metadata, results=results, names=tuple(names), findings=tuple(findings))


def _metadata(folder: Path, findings: list[Finding]) -> dict[str, Any] | None:
    if (folder / METADATA).is_symlink():
        findings.append(error(METADATA, "", "is a link; evidence must hold regular files"))
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
        below = sorted(entry for entry in folder.iterdir() if _is_folder(entry))
        names = (
            sorted(_matching(folder, "results*.json"))
            or _in_each(below, "results*.json")
            or sorted(filter(is_result_name, _matching(folder, "*.json")))
            or [name for name in _in_each(below, "*.json") if is_result_name(PurePosixPath(name).name)]
        )
        everywhere = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("results*.json"))
    except OSError as problem:
        findings.append(error(str(folder), "", f"cannot be listed: {problem.strerror or problem}"))
        return []
    findings.extend(
        fail(shown_name(name), "", "lies apart from the other results; expected all of them in one place")
        for name in everywhere
        if name not in names
    )
    findings.extend(
        fail(shown_name(name), "", "is not a regular file; evidence must hold regular files")
        for name in names
        if not is_plain(folder / name)
    )
    return [name for name in names if is_plain(folder / name)]


def _others(folder: Path) -> str:
    """Names of the JSON files that lie where a result was expected; empty if there are none."""
    names = sorted(shown_name(name) for name in _matching(folder, "*.json") if name != METADATA)
    return f"; lm-eval does not give a result the name {first_of(names, _SHOWN)}" if names else ""


def _matching(folder: Path, pattern: str) -> Iterator[str]:
    return (entry.name for entry in folder.iterdir() if entry.match(pattern))


def _in_each(folders: Iterable[Path], pattern: str) -> list[str]:
    return [f"{folder.name}/{name}" for folder in folders for name in sorted(_matching(folder, pattern))]


def _result(path: Path, name: str, findings: list[Finding]) -> ResultFile | None:
    path = path / name
    try:
        data = read_json(path)
        digest = hashlib.sha256(read_plain(path, LARGEST_JSON)).hexdigest()
    except (EvidenceError, OSError) as problem:
        findings.append(fail(shown_name(name), "", str(problem).removeprefix(f"{path}: ")))
        findings.extend(
            fail(shown_name(name), field, "is not a finite number") for field in _not_finite(path)
        )
        return None
    if not isinstance(data, dict):
        findings.append(fail(shown_name(name), "", f"expected a JSON object, found {excerpt(data)}"))
        return None
    return ResultFile(name=shown_name(name), data=data, sha256=digest)


def _not_finite(path: Path) -> Iterator[str]:
    """Fields of a file that hold NaN or an infinity, which Python writes and JSON does not allow."""
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
    """Whether `name` is a regular file of the folder that is reached without a link."""
    here = folder
    parts = PurePosixPath(name).parts
    try:
        for part in parts[:-1]:
            here = here / part
            if not stat.S_ISDIR(here.lstat().st_mode):
                return False
    except (OSError, ValueError):
        return False
    return bool(parts) and is_plain(here / parts[-1])


def is_plain(path: Path) -> bool:
    """Whether `path` is a regular file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _is_folder(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
