"""Text from elsewhere, as a terminal may be given it: what a server or a model wrote never steers one."""

from __future__ import annotations

from pytest_bench.redaction import redact


def printable(text: str, *, keep: str = "") -> str:
    """`text` without control characters, except those in `keep`, and without secrets."""
    return "".join(
        character if character.isprintable() or character in keep else "\N{REPLACEMENT CHARACTER}"
        for character in redact(text)
    )
