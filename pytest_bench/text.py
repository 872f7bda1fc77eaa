"""Text for people."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """`text` without control characters, except those in `keep`: what a server or a file says never steers a
    terminal."""
    return "".join(
        character if character.isprintable() or character in keep else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
