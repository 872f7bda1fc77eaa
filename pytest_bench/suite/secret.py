"""Values that a plan names and does not hold."""

from __future__ import annotations

import msgspec


class Secret(msgspec.Struct, frozen=True, kw_only=True, tag="from_env", tag_field="kind"):
    """A value that is read from an environment variable when it is used, and is never written to a file."""

    from_env: str


_KEY_ENDINGS = ("_TOKEN", "_SECRET", "_PASSWORD", "_API_KEY", "HFTOKEN", "_ACCESS_KEY")


def holds_key(name: str) -> bool:
    """Whether an environment variable of this name holds a key."""
    return name.upper().endswith(_KEY_ENDINGS)
