"""Phrases that messages share: nearest word, lists, text that is safe to print."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from pytest_bench.redaction import redact


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest of `words`; empty if none is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """`words` separated by commas, in the order given; "nothing" if there are none."""
    return ", ".join(words) or "nothing"


def first_of(words: Collection[str], shown: int) -> str:
    """The first `shown` of `words` separated by commas, then how many more there are: `a, b and 3 more`."""
    first = ", ".join(list(words)[:shown])
    return f"{first} and {len(words) - shown} more" if len(words) > shown else first


def printable(text: str, *, keep: str = "") -> str:
    """`text` without secrets, and with every control character, except those in `keep`, replaced.

    Text of a server or a model then cannot steer a terminal.
    """
    return "".join(
        character if character.isprintable() or character in keep else "\N{REPLACEMENT CHARACTER}"
        for character in redact(text)
    )
