"""A tokenizer that the pool has loaded. Other rooms count and build prompts with it."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_bench.errors import TokensError
from pytest_bench.tokens.chat import ChatTemplate, load_chat_template
from pytest_bench.tokens.messages import Answer, Counts, CountTexts, Encode, Failed, Ids, Loaded, Task
from pytest_bench.tokens.source import TokenizerSource

if TYPE_CHECKING:
    from pytest_bench.tokens.pool import TokenizerPool

_CHUNK_CHARACTERS = 1 << 21


class Tokenizer:
    """Counts and encodes plain text, without special tokens. Made by `TokenizerPool.load`.

    Lone surrogates in a text are counted as U+FFFD. Every method raises `TokensError` if a worker cannot carry it out.
    """

    def __init__(self, pool: TokenizerPool, source: TokenizerSource, loaded: Loaded) -> None:
        self.pool = pool
        self.source = source
        self.key = loaded.key
        self.backend = loaded.backend
        """The library that counts."""
        self.reason = loaded.reason
        """Why this library counts."""
        self.vocabulary = loaded.vocabulary
        """Number of tokens."""
        self._probes = loaded.probes

    @property
    def chunk_characters(self) -> int:
        """Size of the text of one job: enough for all threads of a worker, and little to lose if it dies."""
        return _CHUNK_CHARACTERS

    @cached_property
    def chat_template(self) -> ChatTemplate | None:
        """The chat template in the tokenizer's folder; None if there is none."""
        return load_chat_template(self.source.folder)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""
        counts: dict[int, list[int | None]] = {}
        for start, answer in self.pool.run(self._chunks(texts)):
            if not isinstance(answer, Counts):
                raise self._refusal(answer)
            if answer.failures:
                raise TokensError(f"tokenizer {self.source.name}: {answer.failures[0]}")
            counts[start] = answer.counts
        known = [count for start in sorted(counts) for count in counts[start] if count is not None]
        if len(known) != len(texts):
            raise TokensError(
                f"tokenizer {self.source.name}: {len(known)} of {len(texts)} texts were counted"
            )
        return known

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, in one job: for up to a few thousand texts."""
        task = Encode(key=self.key, texts=list(texts))
        _, answer = next(self.pool.run([(None, task)]))
        if not isinstance(answer, Ids):
            raise self._refusal(answer)
        return answer.ids

    def evidence(self) -> dict[str, Any]:
        """The facts about the tokenizer that the evidence of a session states."""
        return {
            "name": self.source.name,
            "digest": self.source.digest,
            "files": self.source.files,
            "backend": self.backend,
            "backend_reason": self.reason,
            "probes": self._probes,
            "vocabulary": self.vocabulary,
            "workers": len(self.pool.shards),
            "threads": sum(shard.threads for shard in self.pool.shards),
            "notes": list(self.pool.notes),
        }

    def _chunks(self, texts: Sequence[str]) -> Iterator[tuple[int, Task]]:
        ends = list(itertools.accumulate(map(len, texts)))
        start = 0
        while start < len(texts):
            before = ends[start - 1] if start else 0
            stop = min(len(texts), bisect.bisect_left(ends, before + self.chunk_characters, start) + 1)
            yield start, CountTexts(key=self.key, texts=list(texts[start:stop]))
            start = stop

    def _refusal(self, answer: Answer) -> TokensError:
        message = answer.message if isinstance(answer, Failed) else f"answered with {answer!r}"
        return TokensError(f"tokenizer {self.source.name}: {message}")
