"""A pool worker's work on a range of a text log: decode, count each distinct text once, write count lines."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

from pytest_bench.errors import TokensError
from pytest_bench.lines import encode_line
from pytest_bench.records import TextRecord
from pytest_bench.tokens.backends import Backend
from pytest_bench.tokens.counts import TEXT_KINDS, OutputTokens
from pytest_bench.tokens.probes import excerpt
from pytest_bench.tokens.proof import Prepared, describe_difference
from pytest_bench.tokens.reading import read_record, read_records, texts_of
from pytest_bench.tokens.wire import CountRange, RangeCounts, Recounted, RecountLines, RecountTexts, Sample

Result = TypeVar("Result")

Steps = Generator[Callable[[], Any], Any, Result]
"""Work that yields each call into a tokenizer library, and is sent what it returned."""

_MOST_REPEATED_CHARACTERS = 16_000_000
_MOST_SEEN = 200_000


class TextCounter:
    """Counts texts with one back end, identical ones once.

    Within a call every distinct text is encoded once. A text that comes again, in this call or a later one, is
    remembered with its count: one that others did not know beforehand is encoded a few times a pool worker, however
    often a phase delivers it. Of a text that has come once only its hash is kept, for holding on to all texts slows
    everything down.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seen: set[int] = set()
        self._repeated: dict[str, int] = {}
        self._repeated_characters = 0

    def count(
        self, texts: list[str], counted: Mapping[str, int]
    ) -> Steps[tuple[dict[str, int | None], list[str]]]:
        """Tokens by text, None for one that could not be counted, and what went wrong with those.

        `counted` are texts whose tokens are known, and may be among them. Raises `TokensError` where the back end
        answers with another number of counts than it was given texts.
        """
        times = Counter(texts)
        # Looked up before the library is called: ranges take turns, and another may clear the memory meanwhile.
        known: dict[str, int | None] = {
            text: memory[text]
            for memory in (self._repeated, counted)
            if memory
            for text in times
            if text in memory
        }
        missing = [text for text in times if text not in known] if known else list(times)
        counts, failures = yield partial(count_each, self._backend, missing)
        known.update(zip(missing, counts, strict=True))
        self._remember({text: known[text] for text in missing if times[text] > 1 or hash(text) in self._seen})
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen.update(map(hash, missing))
        return known, failures

    def _remember(self, repeated: Mapping[str, int | None]) -> None:
        for text, tokens in repeated.items():
            if tokens is not None:
                self._repeated_characters += len(text)
                if self._repeated_characters > _MOST_REPEATED_CHARACTERS:
                    self._repeated.clear()
                    self._repeated_characters = len(text)
                self._repeated[text] = tokens


def count_each(backend: Backend, texts: list[str]) -> tuple[list[int | None], list[str]]:
    """Tokens of each text, None for one on which the back end fails, and what went wrong with those.

    A batch that fails is halved until the texts at fault stand alone: the others keep their counts. Raises
    `TokensError` for an answer of the wrong length.
    """
    if not texts:
        return [], []
    try:
        counts = backend.count(texts)
    except BaseException as error:  # noqa: BLE001 - a panic of native code derives from it
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


def count_range(task: CountRange, counter: TextCounter) -> Steps[RangeCounts]:
    """Count the records in a range of a log. A damaged line stays uncounted and is named.

    Raises `TokensError` for lines that are intact and no text records.
    """
    records, lines, failures = read_records(task.path, task.start, task.stop)
    known, uncountable = yield from counter.count(
        [text for record in records for text in texts_of(record) if text], task.counted
    )
    known[""] = 0
    counts = [
        (
            known[record.content],
            known[record.reasoning],
            known[record.tool_calls],
            known[record.first_event_text],
        )
        for record in records
    ]
    return RangeCounts(
        lines=_count_lines(records, counts),
        written=len(records),
        counted=sum(None not in four for four in counts),
        tokens=sum(filter(None, itertools.chain.from_iterable(four[:3] for four in counts))),
        failures=failures + uncountable,
        answered=list({record.sample_index for record in records}),
        samples=[Sample(*lines[chosen], counts[chosen]) for chosen in _choose(len(records), task)],
    )


def recount_lines(task: RecountLines, prepared: Prepared) -> Steps[Recounted]:
    """Count the texts of sampled lines with the authority."""
    names, texts, counts = [], [], []
    for sample in task.samples:
        record = read_record(task.path, sample.offset, sample.length)
        for kind, text, count in zip(TEXT_KINDS, texts_of(record), sample.counts, strict=True):
            if text and count is not None:
                names.append(f"{task.path}: byte {sample.offset}, request {record.request_id}, {kind}")
                texts.append(text)
                counts.append(count)
    again = RecountTexts(key=task.key, names=names, texts=texts, counts=counts)
    return (yield from recount_texts(again, prepared))


def recount_texts(task: RecountTexts, prepared: Prepared) -> Steps[Recounted]:
    """Count texts with the authority; a disagreement shows the text."""
    authority = prepared.authority
    ours: list[int] = yield partial(authority.count, task.texts)
    disagreements: list[str] = []
    for name, text, count, right in zip(task.names, task.texts, task.counts, ours, strict=True):
        if count != right:
            (ids,) = yield partial(authority.encode, [text])
            (other_ids,) = yield partial(prepared.backend.encode, [text])
            told = describe_difference(text, ids, other_ids, authority)
            disagreements.append(f"{name}: counted as {count}: {told}")
    return Recounted(len(task.texts), disagreements)


def _count_lines(records: list[TextRecord], counts: Iterable[tuple[int | None, ...]]) -> bytes:
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
    generator = random.Random(f"{task.seed}:{task.path}:{task.start}")  # noqa: S311 - a sample, not a secret
    return generator.sample(range(records), wanted)
