"""Resume rules: what a session has left to do, given a checkpoint and what is asked now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from pytest_bench.checkpoints.line import Key
from pytest_bench.errors import UsageError

if TYPE_CHECKING:
    from pytest_bench.checkpoints.contents import Contents

Action = Literal["request", "score", "nothing"]


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that answers depend on. URL, timeouts and paths are not part of it."""

    items: str
    """Digest of the item hashes in order."""
    prompts: str
    """Digest of the rendered prompts in order."""
    few_shots: str
    """Digest of the few-shot examples."""
    parameters: str
    """Generation parameters and stop strings, as canonical JSON."""
    seed: int
    model: str
    revision: str | None
    """Revision that the server states; None if it states none."""
    repeats: int
    concurrency: int
    item_time_limit_s: float | None = None
    """Time limit of an answer in seconds. It is not a timeout: what had arrived by then is the answer."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a session does with a checkpoint."""

    action: Action
    """`request`: requests are pending. `score`: all answers are there, and are scored (again). `nothing`: the
    point is finished."""
    fresh: bool
    """Whether the header has to be written."""
    pending: tuple[Key, ...]
    """Requests to issue, in the order of `keys`."""
    retried: tuple[Key, ...]
    """Those of them that failed in an earlier session."""
    kept: int
    """Answers that are not requested again."""


def decide(
    contents: Contents, point: str, generation: Generation, scoring: Mapping[str, str], keys: Sequence[Key]
) -> Decision:
    """What remains of `keys`, all requests of the point in order.

    Raises `UsageError` that names the fields that differ if the answers in the checkpoint belong to another point
    or were generated otherwise, and for keys that are not unique. Repeats may be added, not taken away. A different
    `scoring` (digests by name) makes the answers be scored again without a request.
    """
    if len(set(keys)) != len(keys):
        raise UsageError(f"{point}: the eval asks for one request twice; item ids must be unique")
    header = contents.header
    if header is None:
        return Decision(action="request", fresh=True, pending=tuple(keys), retried=(), kept=0)
    if differences := _differences(header.point, point, header.generation, generation, _repeats(contents)):
        raise UsageError(
            f"{point}: the checkpoint cannot be resumed, because its answers were generated otherwise: "
            f"{'; '.join(differences)}. Restore these settings, or start the point anew in another results folder"
        )
    if foreign := contents.attempts.keys() - set(keys):
        raise UsageError(
            f"{point}: the checkpoint holds {len(foreign)} requests that the eval does not ask for, such as "
            f"{min(foreign)}; start the point anew in another results folder"
        )
    pending = tuple(key for key in keys if key not in contents.results)
    same_scoring = bool(contents.sessions) and contents.sessions[-1].scoring == dict(scoring)
    finished = contents.ended and same_scoring
    action: Action = "request" if pending else "nothing" if finished else "score"
    return Decision(
        action=action,
        fresh=False,
        pending=pending,
        retried=tuple(key for key in pending if key in contents.errors),
        kept=len(contents.results),
    )


def _repeats(contents: Contents) -> int:
    """Most repeats that any session asked for."""
    header = contents.header
    asked = [session.repeats for session in contents.sessions]
    return max([*asked, *([header.generation.repeats] if header and not asked else [])], default=0)


def _differences(old_point: str, point: str, old: Generation, new: Generation, old_repeats: int) -> list[str]:
    found = [] if old_point == point else [f"point was {old_point!r}"]
    for field in Generation.__struct_fields__:
        before, now = getattr(old, field), getattr(new, field)
        if field == "repeats":
            if now < old_repeats:
                found.append(f"repeats was {old_repeats}, is {now}: repeats can only be added")
        elif before != now:
            found.append(f"{field} was {_short(before)}, is {_short(now)}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
