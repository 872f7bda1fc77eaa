"""Phrases that messages share: nearest word, lists, text that is safe to print."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence

from pytest_bench.redaction import redact


def nearest(word: str, words: Iterable[str], *, most: int = 1, similarity: float = 0.6) -> list[str]:
    """Up to `most` of `words` that are at least so similar to `word` (from 0 to 1), the most similar first."""
    return difflib.get_close_matches(word, list(words), n=most, cutoff=similarity)


def did_you_mean(word: str, words: Iterable[str], *, most: int = 1) -> str:
    """`; did you mean 'x'?` with up to `most` of `words`, the nearest first; empty if none is near."""
    near = nearest(word, words, most=most)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """`words` separated by commas, in the order given; "nothing" if there are none."""
    return ", ".join(words) or "nothing"


def first_of(words: Collection[str], shown: int) -> str:
    """The first `shown` of `words` separated by commas, then how many more there are: `a, b and 3 more`."""
    first = ", ".join(list(words)[:shown])
    return f"{first} and {len(words) - shown} more" if len(words) > shown else first


def first_lines(lines: Sequence[str], shown: int) -> Iterator[str]:
    """The first `shown` of `lines`, then a line that says how many more there are."""
    yield from lines[:shown]
    if len(lines) > shown:
        yield f"and {len(lines) - shown} more"


def one_line(text: str, longest: int) -> str:
    """`text` as one printable line; a longer one is cut and ends in `…`."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def shown_name(name: str) -> str:
    """A file's name, which somebody else may have chosen: escaped if it contains unprintable characters."""
    return name if name.isprintable() else ascii(name)


def printable(text: str, *, keep: str = "") -> str:
    """`text` without secrets, and with every control character, except those in `keep`, replaced.

    Text of a server or a model then cannot steer a terminal.
    """
    return "".join(
        character if character.isprintable() or character in keep else "\N{REPLACEMENT CHARACTER}"
        for character in redact(text)
    )
