"""Count the outputs and inputs of a phase after it has ended, and write the counts log.

The pool counts ranges of the text logs. Each range is recorded when it is finished, so a timeout, an interrupt or a
dead process loses only the ranges that were being counted. Outputs are counted first, then the inputs of the samples
that they answer. Every request and every sample is either counted or pending; no count is estimated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from pytest_bench.clock import monotonic_ns
from pytest_bench.errors import BenchError, EvidenceError
from pytest_bench.lines import encode_line
from pytest_bench.tokens.counts import COUNTS_LOG, CountsWriter, InputTokens, Outcome
from pytest_bench.tokens.live import LiveCounts
from pytest_bench.tokens.messages import Answer, CountRange, Counts, CountTexts, Failed, RangeCounts, Task
from pytest_bench.tokens.text_log import cut, left_over, origin_of, records_in
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.verification import Verification

Input = str | Sequence[int]
"""The input of a sample: text (a chat is rendered with its template) or token ids."""

Inputs = Callable[[int], Input]
"""Returns the input of the sample with an index. Raises `BenchError` if the input is not known."""

Tag = TypeVar("Tag")

_MOST_FAILURES = 50


class CountingResult(msgspec.Struct, kw_only=True):
    """The result of counting a phase. Unless it is `complete`, token metrics are null and the point is an error.

    `counted + pending` is the number of requests in the text logs. `inputs_counted + inputs_pending` is the number of
    samples that the requests answer, in the part of the logs that was read.
    """

    backend: str
    tokenizer: str
    """Digest of the tokenizer."""
    counted: int = 0
    """Requests whose texts were all counted."""
    pending: int = 0
    """Requests with a text that was not counted."""
    inputs_counted: int = 0
    inputs_pending: int = 0
    output_tokens: int = 0
    input_tokens: int = 0
    """Over distinct samples, regardless of how often each was sent."""
    timed_out: bool = False
    interrupted: bool = False
    failures: list[str] = []
    """Descriptions of the first failures."""
    elapsed_ns: int = 0
    """Without verification."""
    verified: int = 0
    """Texts that the reference counted again, with an equal count; 0 if the reference is the back end."""
    verify_elapsed_ns: int = 0
    live: int = 0
    """Requests that the live lane counted during the phase."""

    @property
    def complete(self) -> bool:
        """Whether everything was counted and the sample was verified."""
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
    inputs: Inputs | None = None,
    texts: Sequence[Path] | None = None,
    output: Path | None = None,
    timeout_s: float = 0.0,
    live: LiveCounts | None = None,
    template: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> CountingResult:
    """Count the text logs of the phase in `folder` and the inputs of its samples, and write the counts log.

    `inputs` is called for each sample after the outputs are written; with None, inputs are not counted. `texts` are the
    logs, by default `texts.*.jsonl` in `folder`. `output` is the counts log, by default `tokens.jsonl` in `folder`;
    it must not exist. `timeout_s` limits counting and verification together; 0 means no limit. `live` are the counts
    of the live lane. `template` is false if `inputs` renders chats without the model's chat template; the log records
    it. `progress` is called from time to time with the number of counted requests and of all requests.

    The result reports timeouts, dead workers and texts that cannot be counted. Raises `TokensError` with the text if
    the reference disagrees with the back end, and `EvidenceError` if a log cannot be read. On any exception, including
    `KeyboardInterrupt`, the end line with the counts so far is written to the counts log first.
    """
    logs = sorted(folder.glob("texts.*.jsonl")) if texts is None else list(texts)
    if not logs:
        raise EvidenceError(f"{folder}: holds no text log: there is nothing to count")
    result = CountingResult(backend=tokenizer.backend, tokenizer=tokenizer.source.digest, failures=[])
    path = output or folder / COUNTS_LOG
    source = tokenizer.source
    with CountsWriter(
        path,
        tokenizer.backend,
        source.digest,
        source.name,
        template=template,
        origin=origin_of(logs[0]),
    ) as writer:
        counting = _Counting(tokenizer, result, writer, logs, inputs, timeout_s=timeout_s)
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


class _Counting:
    """The counting of one phase."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        result: CountingResult,
        writer: CountsWriter,
        logs: Sequence[Path],
        inputs: Inputs | None,
        *,
        timeout_s: float,
    ) -> None:
        self._tokenizer = tokenizer
        self._result = result
        self._writer = writer
        self._inputs = inputs
        self._start_ns = monotonic_ns()
        self._deadline_ns = self._start_ns + int(timeout_s * 1e9) if timeout_s else None
        self._verification = Verification(tokenizer, inputs, random.Random(0))  # noqa: S311 # a sample
        self._samples: dict[int, None] = {}
        self._cut_short = False
        self._done: dict[Path, list[tuple[int, int]]] = {log: [] for log in logs}
        self._total = result.pending = sum(records_in(log) for log in logs)

    def take(self, live: LiveCounts) -> None:
        """Record the ranges that the live lane counted."""
        share = Verification.share(self._total)
        for log, start, stop, answer in live.ranges:
            if log in self._done:
                self._done[log].append((start, stop))
                self._record(log, answer, math.ceil(share * answer.counted))
                self._result.live += answer.counted

    def count(self, progress: Callable[[int, int], None] | None) -> None:
        """Count the remaining ranges and the inputs, until they are done or the time limit is reached."""
        result = self._result
        for log, answer in self._answers(self._ranges()):
            if isinstance(answer, RangeCounts):
                self._record(log, answer)
            else:
                self._fail([_complaint(str(log), answer)])
            if progress is not None:
                progress(result.counted, self._total)
        if self._inputs is not None and not self._cut_short:
            for chunk, counts in self._answers(self._input_chunks(self._inputs)):
                if isinstance(counts, Counts):
                    self._record_inputs(chunk, counts)
                else:
                    samples = [sample for same in chunk.values() for sample in same]
                    self._fail([_complaint(f"inputs of {len(samples)} samples from {samples[0]}", counts)])
        result.timed_out = self._cut_short
        result.elapsed_ns = monotonic_ns() - self._start_ns
        if result.pending and not result.timed_out and not result.failures:
            self._fail([f"the logs promise {self._total} requests and hold {result.counted}"])

    def verify(self) -> None:
        """Count a sample again with the reference, and measure the time of this separately."""
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
        """Record `error` in the result as the reason why counting ends."""
        self._result.interrupted = not isinstance(error, Exception)
        self._fail([str(error) or type(error).__name__])
        self._result.elapsed_ns = self._result.elapsed_ns or monotonic_ns() - self._start_ns

    def _answers(self, tasks: Iterable[tuple[Tag, Task]]) -> Iterator[tuple[Tag, Answer]]:
        """Yield answers to `tasks`, and record whether the time limit was reached before the last one."""
        waiting, ended = 0, False

        def handed_out() -> Iterator[tuple[Tag, Task]]:
            nonlocal waiting, ended
            for task in tasks:
                waiting += 1
                yield task
            ended = True

        for answer in self._tokenizer.pool.run(handed_out(), give_up=self._is_late):
            waiting -= 1
            yield answer
        self._cut_short = waiting > 0 or not ended

    def _ranges(self) -> Iterator[tuple[Path, CountRange]]:
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
                        ),
                    )

    def _input_chunks(self, inputs: Inputs) -> Iterator[tuple[dict[str, list[int]], CountTexts]]:
        """Yield the samples by input, one chunk per task. Token ids need no task: their number is recorded here."""
        known: dict[int, int | None] = {}
        chunk: dict[str, list[int]] = {}
        characters = 0
        for sample in self._samples:
            try:
                sent = inputs(sample)
            except BenchError as error:
                self._fail([f"input of sample {sample}: {error}"])
                known[sample] = None
                continue
            if not isinstance(sent, str):
                known[sample] = len(sent)
                continue
            characters += 0 if sent in chunk else len(sent)
            chunk.setdefault(sent, []).append(sample)
            if characters >= self._tokenizer.chunk_characters:
                yield chunk, CountTexts(key=self._tokenizer.key, texts=list(chunk))
                chunk, characters = {}, 0
        if chunk:
            yield chunk, CountTexts(key=self._tokenizer.key, texts=list(chunk))
        self._write_inputs(known)

    def _record(self, log: Path, answer: RangeCounts, sampled: int | None = None) -> None:
        result = self._result
        self._writer.add(answer.lines, answer.written)
        result.counted += answer.counted
        result.pending -= answer.counted
        result.output_tokens += answer.tokens
        if self._inputs is not None:
            self._samples.update(dict.fromkeys(answer.answered))
            result.inputs_pending = len(self._samples)
        self._fail(answer.failures)
        self._verification.add_lines(log, answer.samples, sampled)

    def _record_inputs(self, chunk: dict[str, list[int]], answer: Counts) -> None:
        pairs = zip(chunk.values(), answer.counts, strict=True)
        counts = {sample: count for samples, count in pairs for sample in samples}
        self._write_inputs(counts)
        self._fail(answer.failures)
        known = [(sample, count) for sample, count in counts.items() if count is not None]
        self._verification.add_inputs(known, of=len(self._samples))

    def _write_inputs(self, counts: dict[int, int | None]) -> None:
        result = self._result
        encode = msgspec.json.Encoder().encode
        lines = [
            encode_line(encode(InputTokens(sample_index=sample, input=n))) for sample, n in counts.items()
        ]
        self._writer.add(b"".join(lines), len(lines))
        known = [count for count in counts.values() if count is not None]
        result.inputs_counted += len(known)
        result.inputs_pending -= len(known)
        result.input_tokens += sum(known)

    def _fail(self, failures: Iterable[str]) -> None:
        kept = self._result.failures
        kept.extend(list(failures)[: _MOST_FAILURES - len(kept)])

    def _is_late(self) -> bool:
        return self._deadline_ns is not None and monotonic_ns() >= self._deadline_ns


def _complaint(what: str, answer: Answer) -> str:
    return f"{what}: {answer.message if isinstance(answer, Failed) else f'answered with {answer!r}'}"
