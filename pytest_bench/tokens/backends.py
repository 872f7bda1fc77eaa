"""The two libraries that count, behind one small contract. Imported in pool workers only.

`tokenizers` is the authority. `fastokens` is faster by an order of magnitude, and used where it proves equal.
Neither adds special tokens, truncates or pads, whatever the tokenizer's file asks for.
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
    """A loaded tokenizer. May be called from several threads; takes as many cores as its library is given."""

    name: ClassVar[BackendName]

    def count(self, texts: list[str]) -> list[int]:
        """Number of tokens of each text."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text."""


class TokenizersBackend:
    """The authority."""

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
        """The text of `ids`, special tokens shown as they are written."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    @property
    def vocabulary(self) -> int:
        """Number of tokens, added ones included."""
        return self._tokenizer.get_vocab_size()

    @property
    def added_tokens(self) -> list[str]:
        return [token.content for token in self._tokenizer.get_added_tokens_decoder().values()]

    def as_json(self) -> str:
        return self._tokenizer.to_str()


class FastokensBackend:
    """The fast one."""

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


def load_authority(file: Path, kind: Literal["json", "tiktoken"]) -> TokenizersBackend:
    """Load `file` with `tokenizers`. Raises `TokensError`."""
    if kind == "tiktoken":
        return TokenizersBackend(load_tiktoken(file))
    try:
        return TokenizersBackend(tokenizers.Tokenizer.from_file(str(file)))
    except Exception as error:  # the library raises nothing narrower
        raise TokensError(f"{file}: `tokenizers` cannot load it: {error}") from error


def load_fast(authority: TokenizersBackend) -> FastokensBackend:
    """Load the authority's tokenizer with `fastokens`. Raises `TokensError` where it does not support it."""
    try:
        return FastokensBackend(fastokens.Tokenizer.from_json_str(authority.as_json()))
    except BaseException as error:  # a panic of native code derives from it
        raise TokensError(f"`fastokens` cannot load it: {error}") from error
