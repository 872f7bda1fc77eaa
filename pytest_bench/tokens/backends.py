"""The two libraries that count, behind one interface. Imported in pool workers only.

`tokenizers` is the reference. `fastokens` is faster by an order of magnitude, and is used if it gives the same ids
for the probe set. Neither adds special tokens, truncates or pads, whatever the tokenizer's file says.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import fastokens
import tokenizers

from pytest_bench.errors import TokensError
from pytest_bench.tokens.messages import BackendName
from pytest_bench.tokens.tiktoken import load_tiktoken


class Backend(Protocol):
    """A loaded tokenizer. It may be called from several threads and uses all threads of its library."""

    name: ClassVar[BackendName]

    def count(self, texts: list[str]) -> list[int]:
        """Number of tokens of each text."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text."""


class TokenizersBackend:
    """The reference."""

    name: ClassVar[BackendName] = "tokenizers"

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    def count(self, texts: list[str]) -> list[int]:
        return [
            len(encoding) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [
            encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, including special tokens."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    @property
    def vocabulary(self) -> int:
        """Number of tokens, including added ones."""
        return self._tokenizer.get_vocab_size()

    @property
    def added_tokens(self) -> list[str]:
        return [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]

    def as_json(self) -> str:
        return self._tokenizer.to_str()


class FastokensBackend:
    """The fast library."""

    name: ClassVar[BackendName] = "fastokens"

    def __init__(self, tokenizer: fastokens.Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    def count(self, texts: list[str]) -> list[int]:
        _, offsets = self._tokenizer.encode_batch_flat(texts)
        starts = memoryview(offsets).cast("Q").tolist()
        return list(map(operator.sub, starts[1:], starts))

    def encode(self, texts: list[str]) -> list[list[int]]:
        ids, offsets = self._tokenizer.encode_batch_flat(texts)
        flat = memoryview(ids).cast("I").tolist()
        starts = memoryview(offsets).cast("Q").tolist()
        return [flat[start:stop] for start, stop in itertools.pairwise(starts)]


def load_reference(file: Path, kind: Literal["json", "tiktoken"]) -> TokenizersBackend:
    """Load `file` with `tokenizers`. Raises `TokensError`."""
    if kind == "tiktoken":
        return TokenizersBackend(load_tiktoken(file))
    try:
        return TokenizersBackend(tokenizers.Tokenizer.from_file(str(file)))
    except Exception as error:  # the library raises no narrower class
        raise TokensError(f"{file}: `tokenizers` cannot load it: {error}") from error


def load_fast(reference: TokenizersBackend) -> FastokensBackend:
    """Load the same tokenizer with `fastokens`. Raises `TokensError` if `fastokens` does not support it."""
    try:
        return FastokensBackend(fastokens.Tokenizer.from_json_str(reference.as_json()))
    except BaseException as error:  # a panic of native code derives from it
        raise TokensError(f"`fastokens` cannot load it: {error}") from error
