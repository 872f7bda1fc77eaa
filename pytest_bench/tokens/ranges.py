"""A pool worker's work on a range of a text log: decode, count each distinct text once, write count lines."""

from __future__ import annotations

import io
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pytest_bench.errors import EvidenceError, TokensError
from pytest_bench.lines import check_line, decode_line, encode_line, is_mark
from pytest_bench.records import TextRecord
from pytest_bench.tokens.backends import Backend
from pytest_bench.tokens.counts import TEXT_KINDS, OutputTokens
from pytest_bench.tokens.probes import excerpt
from pytest_bench.tokens.proof import Prepared, describe_difference
from pytest_bench.tokens.wire import CountRange, RangeCounts, Recounted, RecountLines, RecountTexts, Sample

Result = TypeVar("Result")

Steps = Generator[Callable[[], Any], Any, Result]
"""Work that yields each call into a tokenizer library, and is sent what it returned."""

_MOST_REPEATED_CHARACTERS = 16_000_000


class TextCounter:
    """Counts texts with one back end, identical ones once.

    Within a call every distinct text is encoded once. A text that repeats within a call is remembered, so that a
    phase that delivers one text a thousand times encodes it once a pool worker.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._repeated: dict[str, int] = {}
        self._repeated_characters = 0

    def count(self, texts: list[str]) -> Steps[tuple[dict[str, int | None], list[str]]]:
        """Tokens by text, None for one that could not be counted, and what went wrong with those.

        Raises `TokensError` where the back end answers with another number of counts than it was given texts.
        """
        distinct = dict.fromkeys(texts)
        repeated = self._repeated
        missing = [text for text in distinct if text not in repeated] if repeated else list(distinct)
        counts, failures = yield partial(count_each, self._backend, missing)
        known = dict(zip(missing, counts, strict=True))
        if len(missing) < len(distinct):
            known.update((text, repeated[text]) for text in distinct if text in repeated)
        if len(distinct) < len(texts):
            self._remember(texts, known)
        return known, failures

    def _remember(self, texts: list[str], known: dict[str, int | None]) -> None:
        for text, times in Counter(texts).items():
            tokens = known[text]
            if times > 1 and tokens is not None and text not in self._repeated:
                self._repeated_characters += len(text)
                if self._repeated_characters <= _MOST_REPEATED_CHARACTERS:
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
    """Count the records in a range of a log. A damaged line stays uncounted and is named."""
    failures: list[str] = []
    lines = list(io.BytesIO(_read(task.path, task.start, task.stop)))
    offsets = list(itertools.accumulate(map(len, lines), initial=task.start))
    decode = msgspec.json.Decoder(TextRecord).decode
    records: list[TextRecord] = []
    positions: list[int] = []
    for position, line in enumerate(lines):
        try:
            check_line(line)
            if not is_mark(line):
                records.append(decode(line))
                positions.append(position)
        except (EvidenceError, msgspec.MsgspecError) as error:
            failures.append(f"{task.path}: byte {offsets[position]}: {error}")
    known, uncountable = yield from counter.count(
        [text for record in records for text in _texts(record) if text]
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
        samples=[
            Sample(offsets[positions[chosen]], len(lines[positions[chosen]]), counts[chosen])
            for chosen in _choose(len(records), task)
        ],
    )


def recount_lines(task: RecountLines, prepared: Prepared) -> Steps[Recounted]:
    """Count the texts of sampled lines with the authority."""
    decode = msgspec.json.Decoder(TextRecord).decode
    names, texts, counts = [], [], []
    for sample in task.samples:
        record = decode(decode_line(_read(task.path, sample.offset, sample.offset + sample.length)))
        for kind, text, count in zip(TEXT_KINDS, _texts(record), sample.counts, strict=True):
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


def _texts(record: TextRecord) -> tuple[str, str, str, str]:
    return record.content, record.reasoning, record.tool_calls, record.first_event_text


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
    wanted = min(records, math.ceil(records * task.sample_share))
    generator = random.Random(f"{task.seed}:{task.path}:{task.start}")  # noqa: S311 - a sample, not a secret
    return generator.sample(range(records), wanted)


def _read(path: str, start: int, stop: int) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            stream.seek(start)
            data = stream.read(stop - start)
    except OSError as error:
        raise TokensError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) != stop - start:
        raise TokensError(f"{path}: ends before byte {stop}: it was cut while it was counted")
    return data
