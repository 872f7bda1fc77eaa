"""Rules on `meta_env.json`: how the eval ended, and which artifacts it declares."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pytest_bench.lmeval.findings import Finding, error, excerpt, fail
from pytest_bench.lmeval.folder import METADATA, is_within

_UNKNOWN_PREFIX = "unknown"


EVAL_STATUS = "eval_exit_code"


def findings_of_metadata(
    metadata: Mapping[str, Any], folder: Path, *, allow_missing: Collection[str] = ()
) -> Iterator[Finding]:
    """Whether the eval and the collection of its artifacts ended successfully, according to their exit statuses.

    `eval_exit_code` is required unless `allow_missing` holds it.
    """
    required = EVAL_STATUS not in allow_missing
    yield from _status(metadata, EVAL_STATUS, required=required, what="the eval")
    yield from _status(metadata, "artifact_exit_code", required=False, what="collecting its artifacts")
    yield from _artifacts(metadata, folder)
    prefix = metadata.get("infmax_model_prefix")
    if prefix is not None and not isinstance(prefix, str):
        yield error(METADATA, "infmax_model_prefix", f"is {excerpt(prefix)}; expected text")


def findings_of_model(metadata: Mapping[str, Any], requested: str | None) -> Iterator[Finding]:
    """Whether the metadata names the requested model, if both are known."""
    said = metadata.get("model")
    if requested is not None and said is not None and said != requested:
        yield fail(METADATA, "model", f"is {excerpt(said)}; {excerpt(requested)} was requested")


def model_prefix(metadata: Mapping[str, Any] | None) -> str | None:
    """The model whose thresholds apply, according to the metadata."""
    prefix = (metadata or {}).get("infmax_model_prefix")
    return prefix if isinstance(prefix, str) and prefix and prefix != _UNKNOWN_PREFIX else None


def _status(metadata: Mapping[str, Any], name: str, *, required: bool, what: str) -> Iterator[Finding]:
    if name not in metadata:
        if required:
            yield error(
                METADATA,
                name,
                f"is missing: nothing proves how {what} ended; --allow-missing {name} accepts that",
            )
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
                f"lists {excerpt(name)}, which is not a regular file of the folder: it is missing, or was not copied",
            )
