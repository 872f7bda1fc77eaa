"""Write texts of plain words of exactly the requested length, verified by encoding them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pytest_bench.datasets.words import WORDS

_ATTEMPTS = 200
"""Largest number of corrections of one text."""


class CannotMake(Exception):
    """A text that cannot be made. Callers convert it into a `DatasetError` that names the dataset."""


class TextTokenizer(Protocol):
    """The tokenizer that `Writer` uses: plain text, without special tokens."""

    def encode(self, text: str) -> list[int]: ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The result of `encode` for each text."""


class Writer:
    """Writes texts of exact length."""

    def __init__(self, tokenizer: TextTokenizer | None) -> None:
        self._tokenizer = tokenizer
        texts = [f" {word}" for word in WORDS]
        encoded = map(str.split, texts) if tokenizer is None else tokenizer.encode_batch(texts)
        self._costs = [len(tokens) for tokens in encoded]
        self._dearest = max(self._costs)

    def encode(self, text: str) -> Sequence[object]:
        """The tokens of `text`; its words if there is no tokenizer."""
        return text.split() if self._tokenizer is None else self._tokenizer.encode(text)

    def count(self, text: str) -> int:
        """Length of `text` in tokens, or in words if there is no tokenizer."""
        return len(self.encode(text))

    def text(self, length: int, stream: np.random.Generator, prefix: str = "") -> str:
        """A text of exactly `length` that begins with `prefix`. Raises `CannotMake`."""
        words: list[int] = []
        missing = length - (self.count(prefix) if prefix else 0)
        for _ in range(_ATTEMPTS):
            self._adjust(words, missing, stream)
            text = " ".join([*([prefix] if prefix else []), *(WORDS[word] for word in words)])
            missing = length - self.count(text)
            if missing == 0:
                return text
        raise CannotMake(
            f"no text of exactly {length} tokens was found with this tokenizer; try another length"
        )

    def _adjust(self, words: list[int], missing: int, stream: np.random.Generator) -> None:
        """Add words of about `missing` in total, or remove some if it is negative."""
        while missing < 0 and words:
            missing += self._costs[words.pop()]
        while missing > self._dearest:
            for word in stream.integers(0, len(WORDS), size=missing // self._dearest).tolist():
                words.append(word)
                missing -= self._costs[word]
        # Near the end, prefer a word that fills the rest exactly; a longer one may not fit.
        while missing > 0:
            fitting = self._fitting(missing)
            if not fitting:
                return
            words.append(fitting[int(stream.integers(len(fitting)))])
            missing -= self._costs[words[-1]]

    def _fitting(self, missing: int) -> list[int]:
        exact = [word for word, cost in enumerate(self._costs) if cost == missing]
        return exact or [word for word, cost in enumerate(self._costs) if cost < missing]
