"""Whether the endpoints of a deployment are replicas of one server, according to what they report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FACTS = {"served_models": "served models", "version": "version", "server": "Server header"}


def differences(identities: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each fact in which endpoints differ. `identities` has an `endpoints.ready.Identity` for each."""
    sentences = []
    for name, meaning in _FACTS.items():
        values = [_spelled(identity.get(name)) for identity in identities]
        if len(set(values)) > 1:
            values_by_url = ", ".join(
                f"{identity['url']}: {value}" for identity, value in zip(identities, values, strict=True)
            )
            sentences.append(
                f"The endpoints differ in {meaning} ({values_by_url}): their metrics are of different servers; "
                "read them by endpoint."
            )
    return sentences


def _spelled(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(sorted(map(str, value)))
    return "unknown" if value is None else str(value)
