"""Counting a phase after it is over: its text logs, and its inputs, into the counts log.

Ranges of the logs go to the pool; each is recorded as it finishes, so that a timeout, an interrupt or a dead
process loses only what it held. Every request and every sample is counted or pending, never guessed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from pytest_bench.clock import monotonic_ns
from pytest_bench.errors import EvidenceError, TokensError
from pytest_bench.lines import encode_line
from pytest_bench.tokens.counts import COUNTS_LOG, CountsWriter, InputTokens, Outcome
from pytest_bench.tokens.live import LiveCounts
from pytest_bench.tokens.segments import cut, left_over, records_in
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.verification import Verification
from pytest_bench.tokens.wire import Answer, CountRange, Counts, CountTexts, Failed, RangeCounts, Task

Input = str | Sequence[int]
"""What a sample sends: text (a chat rendered through its template), or token ids as they are."""

_NOTHING: Mapping[int, Input] = MappingProxyType({})
_MOST_FAILURES = 50


class CountingResult(msgspec.Struct, kw_only=True):
    """What became of a phase's texts. Token metrics need `complete`; else they are null and the point an error.

    Always: `counted + pending` is the number of requests in the text logs, and `inputs_counted +
    inputs_pending` that of samples.
    """

    backend: str
    tokenizer: str
    """Digest of the tokenizer."""
    counted: int = 0
    """Requests of which every text was counted."""
    pending: int = 0
    """Requests of which a text was not."""
    inputs_counted: int = 0
    inputs_pending: int = 0
    output_tokens: int = 0
    input_tokens: int = 0
    """Over distinct samples, however often each was sent."""
    timed_out: bool = False
    interrupted: bool = False
    failures: list[str] = []
    """What went wrong; the first ones, where there is much."""
    elapsed_ns: int = 0
    """Counting alone."""
    verified: int = 0
    """Texts that the authority counted again and found equal; 0 where it counted in the first place."""
    verify_elapsed_ns: int = 0
    live: int = 0
    """Requests that the live lane had counted during the phase."""

    @property
    def complete(self) -> bool:
        """Everything was counted, and the sample verified."""
        return self.outcome == "complete"

    @property
    def outcome(self) -> Outcome:
        if self.interrupted:
            return "interrupted"
        if self.timed_out:
            return "timeout"
        return "failed" if self.failures or self.pending or self.inputs_pending else "complete"


def count_phase(
    tokenizer: Tokenizer,
    folder: Path,
    *,
    inputs: Mapping[int, Input] = _NOTHING,
    texts: Sequence[Path] | None = None,
    output: Path | None = None,
    timeout_s: float = 0.0,
    seed: int = 0,
    live: LiveCounts | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CountingResult:
    """Count the text logs of the phase in `folder`, and `inputs` by sample index, into its counts log.

    `texts` names the logs where they are not `texts.*.jsonl` in `folder`; `output` the counts log where it is not
    `tokens.jsonl` there. It must not exist. `timeout_s` limits counting and verification together; 0 is no limit.
    `live` is what the live lane has counted already. `progress` is told, now and then, how many requests are
    counted and how many there are.

    A timeout, a dead worker, a text that cannot be counted: the result says so. Raises `TokensError` with the
    text where the authority disagrees with the back end, and `EvidenceError` where a log cannot be read.
    Whatever is raised, Ctrl-C included, the counts log is ended first and says how far it came.
    """
    logs = sorted(folder.glob("texts.*.jsonl")) if texts is None else list(texts)
    if not logs:
        raise EvidenceError(f"{folder}: holds no text log: there is nothing to count")
    result = CountingResult(backend=tokenizer.backend, tokenizer=tokenizer.source.digest, failures=[])
    path = output or folder / COUNTS_LOG
    with CountsWriter(path, tokenizer.backend, tokenizer.source.digest, tokenizer.source.name) as writer:
        counting = _Counting(tokenizer, result, writer, logs, inputs, seed=seed, timeout_s=timeout_s)
        try:
            if live is not None:
                counting.take(live)
            counting.count(progress)
            counting.verify()
        except BaseException as error:
            counting.give_up(error)
            raise
        finally:
            writer.end(
                result.outcome,
                counted=result.counted,
                pending=result.pending,
                inputs_counted=result.inputs_counted,
                inputs_pending=result.inputs_pending,
            )
    return result


class _InputChunk(NamedTuple):
    """Samples whose inputs go to a worker together, identical texts once."""

    samples: list[int]
    texts: dict[str, int]
    """Place of each distinct text."""
    places: list[int]
    """For each sample, the place of its text; for token ids, minus one less their number."""

    def counts(self, by_place: Sequence[int | None]) -> list[int | None]:
        """Tokens of each sample."""
        return [by_place[place] if place >= 0 else -1 - place for place in self.places]


class _Counting:
    """One phase being counted."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        result: CountingResult,
        writer: CountsWriter,
        logs: Sequence[Path],
        inputs: Mapping[int, Input],
        *,
        seed: int,
        timeout_s: float,
    ) -> None:
        self._tokenizer = tokenizer
        self._result = result
        self._writer = writer
        self._inputs = inputs
        self._seed = seed
        self._start_ns = monotonic_ns()
        self._deadline_ns = self._start_ns + int(timeout_s * 1e9) if timeout_s else None
        self._verification = Verification(tokenizer, inputs, random.Random(seed))  # noqa: S311 - a sample
        self._done: dict[Path, list[tuple[int, int]]] = {log: [] for log in logs}
        self._total = result.pending = sum(records_in(log) for log in logs)
        result.inputs_pending = len(inputs)

    def take(self, live: LiveCounts) -> None:
        """Record what was counted during the phase."""
        share = Verification.share(self._total)
        for log, start, stop, answer in live.ranges:
            if log in self._done:
                self._done[log].append((start, stop))
                self._record(log, answer, share / live.sample_share)
                self._result.live += answer.counted

    def count(self, progress: Callable[[int, int], None] | None) -> None:
        """Count what is left, until it is done or time is up."""
        result = self._result
        for tag, answer in self._tokenizer.pool.run(self._tasks(), give_up=self._is_late):
            match tag, answer:
                case Path(), RangeCounts():
                    self._record(tag, answer)
                case _InputChunk(), Counts():
                    self._record_inputs(tag, answer)
                case _:
                    self._fail([self._complaint(tag, answer)])
            if progress is not None:
                progress(result.counted, self._total)
        result.timed_out = self._is_late() and bool(result.pending or result.inputs_pending)
        result.elapsed_ns = monotonic_ns() - self._start_ns
        if result.pending and not result.timed_out and not result.failures:
            self._fail([f"the logs promise {self._total} requests and hold {result.counted}"])

    def verify(self) -> None:
        """Have the authority count a sample again, timed apart."""
        result = self._result
        if self._tokenizer.backend == "tokenizers" or result.timed_out:
            return
        start_ns = monotonic_ns()
        in_time = self._verification.run(result.elapsed_ns // 10, give_up=self._is_late)
        result.verify_elapsed_ns = monotonic_ns() - start_ns
        result.verified = self._verification.texts
        result.timed_out = not in_time
        self._fail(self._verification.failures)

    def give_up(self, error: BaseException) -> None:
        """Say in the result why it ends here."""
        self._result.interrupted = not isinstance(error, TokensError | EvidenceError)
        self._fail([str(error) or type(error).__name__])
        self._result.elapsed_ns = self._result.elapsed_ns or monotonic_ns() - self._start_ns

    def _tasks(self) -> Iterator[tuple[Path | _InputChunk, Task]]:
        key, size = self._tokenizer.key, self._tokenizer.chunk_characters
        share = Verification.share(self._total)
        for log, done in self._done.items():
            for start, stop in left_over(done):
                for first, last in cut(log, size, start, stop):
                    yield (
                        log,
                        CountRange(
                            key=key,
                            path=str(log),
                            start=first,
                            stop=last,
                            sample_share=share,
                            seed=self._seed,
                        ),
                    )
        for chunk in self._input_chunks(size):
            yield chunk, CountTexts(key=key, texts=list(chunk.texts))

    def _input_chunks(self, size: int) -> Iterator[_InputChunk]:
        chunk, characters = _InputChunk([], {}, []), 0
        for sample in self._inputs:
            sent = self._inputs[sample]
            chunk.samples.append(sample)
            if isinstance(sent, str):
                characters += len(sent) if sent not in chunk.texts else 0
                chunk.places.append(chunk.texts.setdefault(sent, len(chunk.texts)))
            else:
                chunk.places.append(-1 - len(sent))
            if characters >= size:
                yield chunk
                chunk, characters = _InputChunk([], {}, []), 0
        if chunk.samples:
            yield chunk

    def _record(self, log: Path, answer: RangeCounts, sampled: float = 1.0) -> None:
        result = self._result
        self._writer.add(answer.lines, answer.written)
        result.counted += answer.counted
        result.pending -= answer.counted
        result.output_tokens += answer.tokens
        self._fail(answer.failures)
        self._verification.add_lines(log, answer.samples, sampled)

    def _record_inputs(self, chunk: _InputChunk, answer: Counts) -> None:
        result = self._result
        encode = msgspec.json.Encoder().encode
        counted = list(zip(chunk.samples, chunk.counts(answer.counts), strict=True))
        lines = [
            encode_line(encode(InputTokens(sample_index=sample, input=count))) for sample, count in counted
        ]
        self._writer.add(b"".join(lines), len(lines))
        known = {sample: count for sample, count in counted if count is not None}
        result.inputs_counted += len(known)
        result.inputs_pending -= len(known)
        result.input_tokens += sum(known.values())
        self._fail(answer.failures)
        texts = zip(chunk.samples, chunk.places, strict=True)
        self._verification.add_inputs([(s, known[s]) for s, place in texts if place >= 0 and s in known])

    def _complaint(self, tag: Path | _InputChunk, answer: Answer) -> str:
        what = (
            str(tag)
            if isinstance(tag, Path)
            else f"inputs of {len(tag.samples)} samples from {tag.samples[0]}"
        )
        return f"{what}: {answer.message if isinstance(answer, Failed) else f'answered with {answer!r}'}"

    def _fail(self, failures: Iterable[str]) -> None:
        kept = self._result.failures
        kept.extend(list(failures)[: _MOST_FAILURES - len(kept)])

    def _is_late(self) -> bool:
        return self._deadline_ns is not None and monotonic_ns() >= self._deadline_ns
