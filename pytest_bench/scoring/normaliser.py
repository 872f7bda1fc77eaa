"""The normaliser: what is ignored when two answers are compared."""

from __future__ import annotations

import re
import string

import msgspec

_UP_TO = "(?s).*"
_SPECIAL = frozenset(r".^$*+?{}[]\|()")
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
    strip: bool = False
    """Surrounding white space; not a rule of lm-eval's."""
    version: int = 1

    def __post_init__(self) -> None:
        for pattern in self.regexes_to_ignore:
            re.compile(pattern)

    def __call__(self, text: str) -> str:
        text = text.rstrip("\0")
        for pattern in self.regexes_to_ignore:
            text = _removed(pattern, text).rstrip("\0")
        if self.ignore_case:
            text = text.lower()[: max(1, len(text))].rstrip("\0")
        if self.ignore_punctuation:
            text = text.translate(_PUNCTUATION)
        if self.ignore_numbers:
            text = text.translate(_DIGITS)
        return text.strip() if self.strip else text


def _removed(pattern: str, text: str) -> str:
    """`text` without any match of `pattern`."""
    literal = pattern.removeprefix(_UP_TO)
    if literal != pattern and literal and not _SPECIAL.intersection(literal):
        # all up to the last literal: `re` needs quadratic time to find that there is none
        return text.rpartition(literal)[2]
    return re.sub(pattern, "", text)
