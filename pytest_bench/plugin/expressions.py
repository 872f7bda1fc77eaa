"""What `-k` and `-m` say, read on the controller before any worker collects.

xdist turns a malformed expression into an internal error, and a deployment nobody asked for needs no
endpoint: both are known here, from the words an item of a point will carry.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

_TOKEN = re.compile(
    r"\s*(?:(?P<punctuation>[()])|(?P<call>\w+\([^()]*=[^()]*\))|(?P<word>(?::?\w|:|\+|-|\.|\[|\]|\\|/)+))"
)
_OPERATORS = frozenset({"and", "or", "not"})

Matcher = Callable[[Collection[str]], bool]


def compile_expression(text: str, *, whole_words: bool = False) -> Matcher:
    """The boolean expression of `-k` as a test on an item's names: substrings, ignoring case.

    With `whole_words` that of `-m`, on the names of its markers; one with arguments (`points(judge=False)`)
    counts as met, since only pytest can say. An empty text matches everything. Raises `ValueError` saying
    where the expression is malformed.
    """
    tokens, words = _read(text.rstrip(), calls=whole_words)
    if not tokens:
        return lambda _: True
    try:
        tree = ast.parse(" ".join(tokens), mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(
            "is incomplete: expected names joined by and, or, not and parentheses, as in 'wan22 and not audit'"
        ) from error

    def matches(names: Collection[str]) -> bool:
        folded = list(names) if whole_words else [name.lower() for name in names]

        def known(word: str) -> bool:
            if whole_words:
                return "(" in word or word in folded
            return any(word.lower() in name for name in folded)

        return _holds(tree, {key: known(word) for key, word in words.items()})

    matches(())
    return matches


def wanted_words(text: str, *, whole_words: bool = False) -> list[str]:
    """The words of a well-formed expression that ask for something, in order: those that no `not` turns round."""
    tokens, words = _read(text.rstrip(), calls=whole_words)
    if not tokens:
        return []
    tree = ast.parse(" ".join(tokens), mode="eval").body
    return [words[name] for name in _asking(tree, asks=True)]


def _asking(node: ast.expr, *, asks: bool) -> Iterator[str]:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                yield from _asking(value, asks=asks)
        case ast.UnaryOp(operand=operand):
            yield from _asking(operand, asks=not asks)
        case ast.Name(id=name) if asks:
            yield name


def _read(text: str, *, calls: bool) -> tuple[list[str], dict[str, str]]:
    """Tokens of the expression with every word replaced by a name that Python takes, and those words."""
    tokens: list[str] = []
    words: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or (match["call"] and not calls):
            raise ValueError(
                f"cannot be read at column {at + 1}, {text[at:].strip()[:12]!r}: expected names joined by "
                "and, or, not and parentheses"
            )
        at = match.end()
        word = match["word"] or match["call"]
        if word is None or word in _OPERATORS:
            tokens.append(match.group().strip())
        else:
            tokens.append(f"w{len(words)}")
            words[tokens[-1]] = word
    return tokens, words


def _holds(node: ast.expr, known: Mapping[str, bool]) -> bool:
    match node:
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_holds(value, known) for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(_holds(value, known) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _holds(operand, known)
        case ast.Name(id=name):
            return known[name]
    raise ValueError("is malformed: expected names joined by and, or, not and parentheses")


def strange_words(text: str, names: Iterable[str]) -> list[str]:
    """What a `-k` expression asks for, and that occurs in none of `names`: most likely misspelt."""
    folded = [name.lower() for name in names]
    return [word for word in wanted_words(text) if not any(word.lower() in name for name in folded)]


def strange_markers(text: str, markers: Collection[str]) -> list[str]:
    """What a `-m` expression asks for, and that is none of `markers`."""
    words = wanted_words(text, whole_words=True)
    return [word for word in words if word.partition("(")[0] not in markers]
