"""Rules on `meta_env.json`: how the eval ended, and what it says it was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_bench.lmeval.findings import Finding, error, excerpt, fail
from pytest_bench.lmeval.folder import METADATA, is_within

_UNKNOWN_PREFIX = "unknown"


def findings_of_metadata(metadata: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """Whether the eval, and collecting what it left, ended well by their own account."""
    yield from _status(metadata, "eval_exit_code", required=True, what="the eval")
    yield from _status(metadata, "artifact_exit_code", required=False, what="collecting its artifacts")
    yield from _artifacts(metadata, folder)
    prefix = metadata.get("infmax_model_prefix")
    if prefix is not None and not isinstance(prefix, str):
        yield error(METADATA, "infmax_model_prefix", f"is {excerpt(prefix)}; expected text")


def model_prefix(metadata: Mapping[str, Any] | None) -> str | None:
    """Whose thresholds apply, as the metadata says."""
    prefix = (metadata or {}).get("infmax_model_prefix")
    return prefix if isinstance(prefix, str) and prefix and prefix != _UNKNOWN_PREFIX else None


def _status(metadata: Mapping[str, Any], name: str, *, required: bool, what: str) -> Iterator[Finding]:
    if name not in metadata:
        if required:
            yield error(METADATA, name, f"is missing: nothing says how {what} ended")
        return
    status = metadata[name]
    if isinstance(status, bool) or not isinstance(status, int) or status < 0:
        yield error(METADATA, name, f"is {excerpt(status)}; expected an exit status, 0 or more")
    elif status > 0:
        yield fail(METADATA, name, f"{what} ended with status {status}; expected 0")


def _artifacts(metadata: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    names = metadata.get("artifacts", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield error(METADATA, "artifacts", f"is {excerpt(names)}; expected a list of file names")
        return
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/" or "\0" in name:
            yield error(METADATA, "artifacts", f"lists {excerpt(name)}: expected a path within the folder")
        elif not is_within(folder, name):
            yield error(
                METADATA,
                "artifacts",
                f"lists {excerpt(name)}, which is not there as a plain file: it could not be copied",
            )
