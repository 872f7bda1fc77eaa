"""What a refused call sets aside in a results folder that was used: under which names, and how to get it back."""

from __future__ import annotations

import shlex
from pathlib import Path


def kept_names(nonce: str) -> dict[str, str]:
    """By the file's own name, the name that it has once it was set aside; `nonce` is its session's."""
    return {"verdict.json": f"verdict.{nonce}.json", "junit.xml": f"junit.{nonce}.xml"}


def way_back(results: Path, nonce: str) -> str | None:
    """How to have the verdict of the session `nonce` back; None where it was not set aside."""
    kept = {name: aside for name, aside in kept_names(nonce).items() if (results / aside).is_file()}
    if "verdict.json" not in kept:
        return None
    moves = " && ".join(f"mv {shlex.quote(aside)} {name}" for name, aside in kept.items())
    return (
        f"the verdict of the session in {results} is kept as {kept['verdict.json']}; to have it back: "
        f"(cd {shlex.quote(str(results))} && {moves})"
    )
