"""What differs between sessions: their suites as resolved, and their environments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pytest_bench.comparison.sessions import Session
from pytest_bench.wording import printable

_OF_ONE_SESSION = frozenset({"nonce", "measured_at", "boot_id", "version", "clock_offset_s"})
"""Entries of the environment that say when it was read, not what it is."""
_PLACES = frozenset({"origin", "root", "files"})
"""Entries of the plan that say where something is declared."""
ABSENT = "(absent)"


class Change(NamedTuple):
    """One entry with a different value in some session."""

    name: str
    values: tuple[str, ...]
    """One for each session, in their order."""


def environment(session: Session) -> dict[str, str]:
    """The environment as one line per entry."""
    return dict(flat("", session.environment))


def suites(session: Session) -> dict[str, str]:
    """Everything that the points depend on, as one line per entry."""
    return dict(flat("", resolved_suites(session)))


def resolved_suites(session: Session) -> dict[str, Any]:
    """The plan by suite: its deployment, its datasets, and its points by id."""
    built = msgspec.to_builtins(session.plan)
    return {
        suite: {
            "deployment": deployment,
            "datasets": built["datasets"].get(suite, {}),
            "points": {point["id"]: point for point in built["points"] if point["suite"] == suite},
        }
        for suite, deployment in built["deployments"].items()
    }


def changes(sessions: Sequence[Mapping[str, str]]) -> list[Change]:
    """The entries that are not the same in all of them."""
    entries = dict.fromkeys(name for session in sessions for name in session)
    found = (
        Change(name, tuple(session.get(name, ABSENT) for session in sessions))
        for name in entries
        if name.rpartition(".")[2] not in _OF_ONE_SESSION | _PLACES
    )
    return [change for change in found if len(set(change.values)) > 1]


def flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Name and text of every entry of nested mappings and lists, without places."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            if name not in _PLACES:
                yield from flat(f"{prefix}.{name}" if prefix else str(name), part)
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        for number, part in enumerate(value):
            yield from flat(f"{prefix}[{number}]", part)
    else:
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        yield prefix, printable(shown)
