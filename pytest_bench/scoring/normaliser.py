"""The normaliser: what is ignored when two answers are compared."""

from __future__ import annotations

import re
import string

import msgspec

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)


class Normaliser(msgspec.Struct, frozen=True, kw_only=True):
    """Removes what should not matter, with the rules of lm-eval's `exact_match` metric.

    lm-eval holds the texts in numpy arrays of fixed width, which drop trailing NUL characters and cut a text that
    grows when lowered; this does the same, so that no answer is scored differently.
    """

    regexes_to_ignore: tuple[str, ...] = ()
    """Every match is removed, pattern by pattern."""
    ignore_case: bool = False
    ignore_punctuation: bool = False
    """ASCII punctuation only, as in lm-eval."""
    ignore_numbers: bool = False
    """ASCII digits."""
    version: int = 1

    def __post_init__(self) -> None:
        for pattern in self.regexes_to_ignore:
            re.compile(pattern)

    def __call__(self, text: str) -> str:
        text = text.rstrip("\0")
        for pattern in self.regexes_to_ignore:
            text = re.sub(pattern, "", text).rstrip("\0")
        if self.ignore_case:
            text = text.lower()[: max(1, len(text))].rstrip("\0")
        if self.ignore_punctuation:
            text = text.translate(_PUNCTUATION)
        if self.ignore_numbers:
            text = text.translate(_DIGITS)
        return text
