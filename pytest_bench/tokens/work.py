"""The tasks of a pool worker: load tokenizers, count texts and ranges of text logs, count samples again."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple, Unpack

import msgspec

from pytest_bench.errors import TokensError
from pytest_bench.lines import encode_line
from pytest_bench.records import TextRecord
from pytest_bench.tokens.backends import Backend
from pytest_bench.tokens.counts import OutputTokens
from pytest_bench.tokens.messages import (
    Answer,
    CountRange,
    Counts,
    CountTexts,
    Encode,
    Ids,
    Load,
    Loaded,
    RangeCounts,
    Recount,
    Recounted,
    Sample,
    Task,
)
from pytest_bench.tokens.probes import excerpt
from pytest_bench.tokens.proof import Prepared, describe_difference
from pytest_bench.tokens.text_log import read_records, texts_of

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

_MOST_REMEMBERED = 200_000


class Work:
    """The tokenizers of one worker, and the tasks on them, as coroutines of one event loop.

    A library uses every core of the worker's block and releases the interpreter, so it is called in a thread: while it
    counts one range, the loop decodes the next, or encodes the lines of the last one. It is always the same thread,
    because glibc gives each thread memory of its own, and fresh memory would take as much as a tenth of the time.
    """

    def __init__(self, prepare: Callable[[Load], Prepared], note: str | None) -> None:
        self._prepare = prepare
        self._note = note
        self._loaded: dict[str, tuple[Prepared, TextCounter]] = {}
        self._library = Library()

    async def answer(self, task: Task) -> Answer:
        """Carry out one task. Raises `TokensError`, and what a library raises."""
        if isinstance(task, Load):
            return await self._load(task)
        if task.key not in self._loaded:
            raise TokensError(f"tokenizer {task.key} is not loaded in this worker")
        prepared, counter = self._loaded[task.key]
        match task:
            case CountRange():
                return await count_range(task, counter)
            case CountTexts():
                counts, failures = await self._library(count_each, prepared.backend, task.texts)
                return Counts(counts=counts, failures=failures)
            case Recount():
                return await self._library(recount, task, prepared)
            case Encode():
                return Ids(ids=await self._library(prepared.backend.encode, task.texts))

    async def _load(self, task: Load) -> Loaded:
        prepared = await self._library(self._prepare, task)
        self._loaded[task.key] = prepared, TextCounter(prepared.backend, self._library)
        return Loaded(
            key=task.key,
            backend=prepared.backend.name,
            reason=prepared.reason,
            probes=prepared.probes,
            vocabulary=prepared.reference.vocabulary,
            note=self._note,
        )


class Library:
    """The thread that calls tokenizer libraries."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1)

    async def __call__(
        self, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments
    ) -> Result:
        """Call a function in the thread, and return or raise what it does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)


class TextCounter:
    """Counts texts with one back end, and remembers the counts, so that texts that repeat are seldom counted again.

    The hash, length and count of recent texts are stored, but not the texts. Two of a million texts have the same hash
    and length with a probability below one in 10**7.
    """

    def __init__(self, backend: Backend, library: Library) -> None:
        self._backend = backend
        self._library = library
        self._remembered: dict[int, tuple[int, int]] = {}

    async def count(self, texts: Iterable[str]) -> tuple[dict[str, int | None], list[str]]:
        """Return tokens by text (None for a text that could not be counted) and a description of each failure."""
        known: dict[str, int | None] = {}
        missing = []
        for text in dict.fromkeys(texts):
            length, tokens = self._remembered.get(hash(text), (-1, 0))
            if length == len(text):
                known[text] = tokens
            else:
                missing.append(text)
        counts, failures = await self._library(count_each, self._backend, missing)
        if len(self._remembered) + len(missing) > _MOST_REMEMBERED:
            self._remembered.clear()
        for text, count in zip(missing, counts, strict=True):
            known[text] = count
            if count is not None:
                self._remembered[hash(text)] = len(text), count
        return known, failures


def count_each(backend: Backend, texts: list[str]) -> tuple[list[int | None], list[str]]:
    """Return tokens of each text (None if the back end fails on it) and a description of each failure.

    A batch that fails is halved until the failing texts are alone, so that all others are counted. Raises `TokensError`
    for an answer of the wrong length.
    """
    if not texts:
        return [], []
    try:
        counts = backend.count(texts)
    except BaseException as error:  # noqa: BLE001 # a panic of native code derives from it
        if len(texts) == 1:
            return [None], [
                f"`{backend.name}` failed ({type(error).__name__}: {error}) on {excerpt(texts[0])}"
            ]
        half = len(texts) // 2
        first, second = count_each(backend, texts[:half]), count_each(backend, texts[half:])
        return first[0] + second[0], first[1] + second[1]
    if len(counts) != len(texts):
        raise TokensError(f"`{backend.name}` answered {len(counts)} counts for {len(texts)} texts")
    return list(counts), []


async def count_range(task: CountRange, counter: TextCounter) -> RangeCounts:
    """Count the records in a range of a log. A damaged line is not counted, but reported.

    Raises `TokensError` for lines that are intact and not text records.
    """
    records, lines, failures = read_records(task.path, task.start, task.stop)
    known, uncountable = await counter.count(text for record in records for text in texts_of(record) if text)
    known[""] = 0
    counts = [tuple(map(known.__getitem__, texts_of(record))) for record in records]
    return RangeCounts(
        lines=_count_lines(records, counts),
        written=len(records),
        counted=sum(None not in four for four in counts),
        tokens=sum(filter(None, itertools.chain.from_iterable(four[:3] for four in counts))),
        failures=failures + uncountable,
        answered=list({record.sample_index for record in records}),
        samples=[Sample(*lines[chosen], counts[chosen]) for chosen in _choose(len(records), task)],
    )


def recount(task: Recount, prepared: Prepared) -> Recounted:
    """Count texts again with the reference, and describe each difference."""
    reference = prepared.reference
    disagreements = []
    for name, text, count, right in zip(
        task.names, task.texts, task.counts, reference.count(task.texts), strict=True
    ):
        if count != right:
            ids, other_ids = reference.encode([text])[0], prepared.backend.encode([text])[0]
            difference = describe_difference(text, ids, other_ids, reference)
            disagreements.append(f"{name}: counted as {count}: {difference}")
    return Recounted(len(task.texts), disagreements)


def _count_lines(records: list[TextRecord], counts: list[tuple[int | None, ...]]) -> bytes:
    encode = msgspec.json.Encoder().encode
    return b"".join(
        encode_line(
            encode(
                OutputTokens(
                    request_id=record.request_id,
                    sample_index=record.sample_index,
                    content=content,
                    reasoning=reasoning,
                    tool_calls=tool_calls,
                    first_event=first_event,
                )
            )
        )
        for record, (content, reasoning, tool_calls, first_event) in zip(records, counts, strict=True)
    )


def _choose(records: int, task: CountRange) -> list[int]:
    wanted = min(records, max(task.least_samples, math.ceil(records * task.sample_share)))
    generator = random.Random(f"{task.path}:{task.start}")  # noqa: S311 # a sample, not a secret
    return generator.sample(range(records), wanted)
