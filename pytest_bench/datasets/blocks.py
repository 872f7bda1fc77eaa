"""Compose prompts of blocks: prompts with the same first ids begin with the same tokens.

An id always denotes the same text, and a prompt is the concatenation of the texts of its ids. Blocks meet between
words, where tokenizers split as well; this is verified on the tokens of every prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_bench.datasets.words import WORDS
from pytest_bench.datasets.writer import CannotMake, Writer

_BEFORE = WORDS[0]
"""Text before a block that is not the first of its prompt, while its length is determined."""
_MOST_KEPT = 20_000
"""Largest number of cached texts; others are made again."""


class Blocks:
    """Blocks of `size` tokens, whose words are determined by `seeds` and an id. Raises `CannotMake`."""

    def __init__(self, writer: Writer, size: int, seeds: tuple[int, ...]) -> None:
        self._writer = writer
        self._size = size
        self._seeds = seeds
        self._before = writer.count(_BEFORE)
        self._texts: dict[tuple[int, bool], str] = {}
        self._tokens: dict[tuple[int, bool], int] = {}

    def prompt(self, ids: Sequence[int], length: int) -> str:
        """A text of exactly `length` tokens, made of all `ids`; the last block is cut."""
        *whole, last = ids
        left = length - len(whole) * self._size
        places = [(one, place == 0) for place, one in enumerate(whole)]
        text = "".join([*map(self._text, places), self._cut((last, not whole), left)])
        self._check(text, places if left < self._size else [*places, (last, not whole)], length)
        return text

    def _text(self, block: tuple[int, bool]) -> str:
        """The text of a block: an id, and whether the block is the first of its prompt and has no leading space."""
        if block not in self._texts:
            if len(self._texts) >= _MOST_KEPT:
                self._texts.clear()
            self._texts[block] = self._write(block, "", self._size)
        return self._texts[block]

    def _cut(self, block: tuple[int, bool], length: int) -> str:
        """The first `length` tokens of a block; if they end within a word, other words fill the rest."""
        text = self._text(block)
        if length == self._size:
            return text
        words = text.split(" ")
        low, high = 0, len(words) - 1
        while low < high:  # the most words that fit
            middle = (low + high + 1) // 2
            if self._count(" ".join(words[:middle]), block) <= length:
                low = middle
            else:
                high = middle - 1
        return self._write(block, " ".join(words[:low]), length)

    def _write(self, block: tuple[int, bool], begun: str, length: int) -> str:
        one, first = block
        stream = np.random.default_rng([*self._seeds, one, length])
        if first:
            return self._writer.text(length, stream, begun)
        return self._writer.text(self._before + length, stream, _BEFORE + begun).removeprefix(_BEFORE)

    def _count(self, text: str, block: tuple[int, bool]) -> int:
        return self._writer.count(text) if block[1] else self._writer.count(_BEFORE + text) - self._before

    def _check(self, text: str, blocks: Sequence[tuple[int, bool]], length: int) -> None:
        """Raises `CannotMake` unless `text` has `length` tokens, and whole blocks those they have elsewhere."""
        tokens = self._writer.encode(text)
        same = all(
            self._tokens.setdefault(block, now) == now
            for start, block in zip(range(0, length, self._size), blocks, strict=False)
            for now in [hash(tuple(tokens[start : start + self._size]))]
        )
        if len(tokens) != length or not same:
            raise CannotMake(
                "this tokenizer does not cut texts between words, so that prompts may begin with the same ids and not "
                "with the same tokens; leave the ids of the trace aside with `hash_ids: false`"
            )
