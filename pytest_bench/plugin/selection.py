"""What `-k` and `-m` will select, judged on the controller before any worker collects.

xdist turns a malformed expression into an internal error, and a deployment nobody asked for needs no
endpoint: both are known here, from the words an item of a point will carry.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence

import pytest

from pytest_bench.suite.plan import Point

_TOKEN = re.compile(r"\s*(?:(?P<punctuation>[()])|(?P<word>(?::?\w|:|\+|-|\.|\[|\]|\\|/)+))")

Matcher = Callable[[Iterable[str]], bool]


def compile_expression(text: str) -> Matcher:
    """The boolean expression of `-k` or `-m` as a test on an item's names (substrings, ignoring case).

    An empty text matches everything. Raises `ValueError` saying where the expression is malformed.
    """
    tokens: list[str] = []
    words: dict[str, str] = {}
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(
                f"cannot be read at column {at + 1}, {text[at:].strip()[:12]!r}: expected names joined by "
                "and, or, not and parentheses"
            )
        at = match.end()
        word = match["word"]
        if word is None or word in {"and", "or", "not"}:
            tokens.append(match.group().strip())
        else:
            words[f"w{len(words)}"] = word.lower()
            tokens.append(f"w{len(words) - 1}")
    if not tokens:
        return lambda _: True
    try:
        tree = ast.parse(" ".join(tokens), mode="eval").body
    except SyntaxError as error:
        raise ValueError(
            "is incomplete: expected names joined by and, or, not and parentheses, as in "
            "'wan22 and not audit'"
        ) from error

    def holds(node: ast.expr, names: Sequence[str]) -> bool:
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                return all(holds(value, names) for value in values)
            case ast.BoolOp(op=ast.Or(), values=values):
                return any(holds(value, names) for value in values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not holds(operand, names)
            case ast.Name(id=name):
                return any(words[name] in candidate for candidate in names)
        raise ValueError("is malformed: expected names joined by and, or, not and parentheses")

    holds(tree, ())
    return lambda names: holds(tree, [name.lower() for name in names])


def likely_selected(config: pytest.Config, points: Iterable[Point]) -> list[Point]:
    """Points whose items the command line's `-k` selects, as far as can be known before collection."""
    matches = compile_expression(config.option.keyword)
    folders = [part for arg in config.args for part in arg.partition("::")[0].split("/")]

    def names(point: Point) -> list[str]:
        function = f"test_{point.kind}"
        return [f"{function}[{point.id}]", f"{function}.py", "points", *folders]

    return [point for point in points if matches(names(point))]
