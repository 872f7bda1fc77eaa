"""Whether the endpoints of one deployment are replicas of one server, by what they say about themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FACTS = {"served_models": "served models", "version": "version", "server": "Server header"}


def differences(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """In what `identities`, one for each endpoint as in `endpoints.ready.Identity`, differ; one sentence each."""
    sentences = []
    for name, meaning in _FACTS.items():
        values = [_spelled(identity.get(name)) for identity in identities]
        if len(set(values)) > 1:
            told = ", ".join(
                f"{identity['url']}: {value}" for identity, value in zip(identities, values, strict=True)
            )
            sentences.append(
                f"The endpoints differ in {meaning} ({told}): their metrics are of different servers; "
                "read them by endpoint."
            )
    return sentences


def _spelled(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(sorted(map(str, value)))
    return "unknown" if value is None else str(value)
