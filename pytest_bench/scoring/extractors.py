"""Extractors: from the scored text to the answer in it, or None if there is none."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class WholeText(msgspec.Struct, frozen=True, tag="whole_text", tag_field="name"):
    """The text as it is; None if it is blank."""

    version: int = 1

    def extract(self, text: str, choices: Sequence[str]) -> str | None:  # noqa: ARG002 # the extractors' interface
        return text if text.strip() else None


class Regex(msgspec.Struct, frozen=True, kw_only=True, tag="regex", tag_field="name"):
    """A match of a regular expression, with the rules of lm-eval's `regex` filter.

    Matches are those of `re.findall`. If the pattern has several groups, the first non-empty group counts.
    """

    pattern: str
    select: Literal["first", "last"] = "first"
    version: int = 1

    def __post_init__(self) -> None:
        re.compile(self.pattern)

    def extract(self, text: str, choices: Sequence[str]) -> str | None:  # noqa: ARG002 # the extractors' interface
        return _select(re.compile(self.pattern), text, self.select)


class Letter(msgspec.Struct, frozen=True, kw_only=True, tag="letter", tag_field="name"):
    """A letter of a multiple-choice question: after "answer is" or "answer:", else in parentheses, else alone.

    Of several matches of one kind the last counts. Letters beyond the number of choices are ignored.
    """

    version: int = 1

    def extract(self, text: str, choices: Sequence[str]) -> str | None:
        valid = _letters(len(choices))
        for pattern in _LETTER_PATTERNS:
            found: list[str] = [m for match in pattern.findall(text) if (m := match.upper()) in valid]
            if found:
                return found[-1]
        return None


class ChoiceRegex(msgspec.Struct, frozen=True, kw_only=True, tag="choice_regex", tag_field="name"):
    """A choice as "(A)", with the rules of lm-eval's `multi_choice_regex` filter.

    Looks for `pattern`; then for the text of a choice, case and punctuation ignored; then for a letter after a
    colon. A pattern with groups behaves as in `Regex`.
    """

    pattern: str = r"(\([A-Z]\))"
    select: Literal["first", "last"] = "last"
    version: int = 1

    def __post_init__(self) -> None:
        re.compile(self.pattern)

    def extract(self, text: str, choices: Sequence[str]) -> str | None:
        if found := _select(re.compile(self.pattern), text, self.select):
            return found
        by_text = {_bare(choice.strip()): f"({letter})" for letter, choice in _lettered(choices)}
        longest_first = sorted(map(re.escape, by_text), key=len, reverse=True)
        if found := _select(re.compile("|".join(longest_first)), _bare(text), self.select):
            return by_text.get(found, found)
        letters = "|".join(letter for letter, _ in _lettered(choices))
        found = _select(re.compile(rf":[\s]*({letters})"), text, self.select)
        return f"({found})" if found else None


class Boxed(msgspec.Struct, frozen=True, tag="boxed", tag_field="name"):
    r"""Content of the last `\boxed{…}` whose braces are balanced."""

    version: int = 1

    def extract(self, text: str, choices: Sequence[str]) -> str | None:  # noqa: ARG002 # the extractors' interface
        last = ""
        open_braces: list[int | None] = []  # where the content of each begins, if it is a box's
        for match in _BRACES.finditer(text):
            if match[0].startswith(("\\boxed", "\\fbox")):
                open_braces.append(match.end())
            elif match[0] == "{":
                open_braces.append(None)
            elif match[0] == "}" and open_braces:
                start = open_braces.pop()
                if start is not None:
                    last = text[start : match.start()].strip()
        return last or None


class AnchoredNumber(msgspec.Struct, frozen=True, kw_only=True, tag="anchored_number", tag_field="name"):
    r"""The number that follows the last anchor, as a plain decimal: `1,250.50` and `$1250.5` give `1250.50` and
    `1250.5`.

    Between anchor and number only space, `:`, `=`, `*`, `(`, `$`, `€`, `£` and an opening `\boxed{` may stand. The
    case of an anchor does not matter. None if no anchor is followed by a number.
    """

    anchors: tuple[str, ...] = ("####", "answer is", "answer:", r"\boxed{")
    version: int = 1

    def __post_init__(self) -> None:
        if not all(self.anchors) or not self.anchors:
            raise ValueError("anchors must be non-empty texts, at least one")

    def extract(self, text: str, choices: Sequence[str]) -> str | None:  # noqa: ARG002 # the extractors' interface
        anchors = "|".join(re.escape(anchor) for anchor in sorted(self.anchors, key=len, reverse=True))
        found = re.findall(rf"(?i)(?:{anchors}){_BETWEEN}({_NUMBER})", text)
        return plain_number(found[-1]) if found else None


class Extractor(Protocol):
    """Finds the answer in a text: a frozen msgspec struct, whose fields are part of a scoring's digest."""

    @property
    def version(self) -> int:
        """Raised with every change of its results."""

    def extract(self, text: str, choices: Sequence[str]) -> str | None:
        """The answer in the scored text; None if there is none. `choices` are those of a multiple-choice item."""


SHIPPED_EXTRACTORS = (WholeText, Regex, Letter, ChoiceRegex, Boxed, AnchoredNumber)

_BETWEEN = r"[\s:=*($€£]*(?:\\boxed\{[\s$€£]*)?"
_NUMBER = (
    r"[+\-\u2212]?[$€£]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3}(?![0-9]))?"
    r"|[+\-\u2212]?[$€£]?\.[0-9]+"
)
_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_LETTER_PATTERNS = (
    re.compile(r"(?i:answer(?:\s+is)?)\s*(?::\s*)?\**\(?([A-Z])\b"),
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"\A\s*\**([A-Za-z])\**[.):]?\s*\Z"),
)


def plain_number(text: str) -> str:
    """A matched number without currency sign and thousands separators, with an ASCII minus."""
    return re.sub(r"[,$€£+]", "", text).replace("\u2212", "-")


def _select(pattern: re.Pattern[str], text: str, select: Literal["first", "last"]) -> str | None:
    matches: list[str | tuple[str, ...]] = pattern.findall(text)
    if not matches:
        return None
    match = matches[-1 if select == "last" else 0]
    if isinstance(match, str):
        return match.strip()
    return next((group.strip() for group in match if group), None)


def _letters(count: int) -> frozenset[str]:
    return frozenset(letter for letter, _ in _lettered(range(count or 26)))


def _lettered(choices: Iterable[T]) -> Iterator[tuple[str, T]]:
    return ((chr(ord("A") + number), choice) for number, choice in enumerate(choices))


@cache
def _punctuation() -> dict[int, None]:
    return {code: None for code in range(sys.maxunicode) if unicodedata.category(chr(code)).startswith("P")}


def _bare(text: str) -> str:
    """`text` in lower case, without any Unicode punctuation."""
    return text.lower().translate(_punctuation())
