"""Resuming a results folder: what belonged to the last session alone is set aside, and nothing is deleted.

    sessions/<nonce>/    verdict, JUnit file, plan, environment, events, deployments, and points that are not evals

The folders of evals stay in place, because their checkpoints are continued. Those of evals that another tool ran do
not: no tool is resumed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pytest_bench.errors import EvidenceError, UsageError
from pytest_bench.files import fsync_folder
from pytest_bench.results import layout
from pytest_bench.results.event_log import nonce_of

_STAY = frozenset(
    {layout.POINTS, layout.EVALS, layout.SESSIONS, layout.LOCK, layout.RESERVE, layout.RECOUNTS}
)
_KINDS_SET_ASIDE = ("perf", "audit")


def require_resumable(results: Path) -> None:
    """Raises `UsageError` for a folder that holds no session."""
    if not results.is_dir():
        raise UsageError(
            f"--resume: {results}: there is no such folder; name the results folder of a session"
        )
    if not any((results / name).is_dir() for name in (layout.EVENTS, layout.SESSIONS)):
        raise UsageError(
            f"--resume: {results}: holds no session to resume; start one with --results, or without either option"
        )


def set_aside(results: Path, new_nonce: str) -> None:
    """Move the files of the last session into a folder of its own. If this process is killed meanwhile, another call
    moves the rest.

    Raises `OSError`.
    """
    (results / layout.RESERVE).unlink(missing_ok=True)
    # The events come last: as long as they are there, the session that the files belong to is known.
    names = sorted(
        (path.name for path in results.iterdir() if path.name not in _STAY),
        key=lambda name: (name == layout.EVENTS, name),
    )
    points = [
        path.relative_to(results)
        for kind in _KINDS_SET_ASIDE
        for path in sorted((results / layout.POINTS).glob(f"*/{kind}"))
    ]
    of_tools = {
        path.parent.relative_to(results)
        for name in (layout.HARNESS, layout.NODES)
        for path in (results / layout.POINTS).glob(f"*/eval/**/{name}")
    }
    # A tool's own files may hold folders of the same names.
    points += sorted(path for path in of_tools if of_tools.isdisjoint(path.parents))
    moved = [*points, *map(Path, names)]
    if not moved:
        return
    try:
        nonce = nonce_of(results)
    except EvidenceError:
        nonce = f"unreadable-{new_nonce}"
    folder = results / layout.SESSIONS / nonce
    for path in moved:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        (results / path).rename(target)
    fsync_folder(folder)
    fsync_folder(results)


def resume_command(words: Sequence[str], results: Path, here: Path) -> str:
    """The command that continues a session which was started with the arguments `words` of pytest."""
    kept: list[str] = []
    skip = False
    for word in words:
        option, equals, _ = word.partition("=")
        if skip or option in {"--results", "--resume"}:
            skip = not skip and not equals
            continue
        kept.append(word)
    return shlex.join(["pytest", *kept, "--resume", os.path.relpath(results, here)])
