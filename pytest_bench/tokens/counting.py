"""Counting a phase after it is over: its text logs, and its inputs, into the counts log.

Ranges of the logs go to the pool; each is recorded as it finishes, so that a timeout, an interrupt or a dead
process loses only what it held. Outputs come first; then what the samples sent that they answer. Every request and
every sample is counted or pending, never guessed.
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
from pytest_bench.tokens.text_log import cut, left_over, records_in
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.verification import Verification

Input = str | Sequence[int]
"""What a sample sends: text (a chat rendered through its template), or token ids as they are."""

Inputs = Callable[[int], Input]
"""What a sample sends, by its index. Raises `BenchError` for one that cannot be told."""

Tag = TypeVar("Tag")

_MOST_FAILURES = 50


class CountingResult(msgspec.Struct, kw_only=True):
    """What became of a phase's texts. Token metrics need `complete`; else they are null and the point an error.

    Always: `counted + pending` is the number of requests in the text logs, and `inputs_counted +
    inputs_pending` that of the samples that they answer, as far as the logs were read.
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
    inputs: Inputs | None = None,
    texts: Sequence[Path] | None = None,
    output: Path | None = None,
    timeout_s: float = 0.0,
    seed: int = 0,
    live: LiveCounts | None = None,
    template: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> CountingResult:
    """Count the text logs of the phase in `folder`, and what their samples sent, into its counts log.

    `inputs` is asked for each sample once, while its answers' counts are on disk already; None leaves inputs out.
    `texts` names the logs where they are not `texts.*.jsonl` in `folder`; `output` the counts log where it is not
    `tokens.jsonl` there. It must not exist. `timeout_s` limits counting and verification together; 0 is no limit.
    `live` is what the live lane has counted already. `template` is false if `inputs` renders chats without the model's
    chat template; the log says so. `progress` is told, now and then, how many requests are
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
    source = tokenizer.source
    with CountsWriter(path, tokenizer.backend, source.digest, source.name, template=template) as writer:
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


class _Counting:
    """One phase being counted."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        result: CountingResult,
        writer: CountsWriter,
        logs: Sequence[Path],
        inputs: Inputs | None,
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
        self._samples: dict[int, None] = {}
        self._cut_short = False
        self._done: dict[Path, list[tuple[int, int]]] = {log: [] for log in logs}
        self._total = result.pending = sum(records_in(log) for log in logs)

    def take(self, live: LiveCounts) -> None:
        """Record what was counted during the phase."""
        share = Verification.share(self._total)
        for log, start, stop, answer in live.ranges:
            if log in self._done:
                self._done[log].append((start, stop))
                self._record(log, answer, math.ceil(share * answer.counted))
                self._result.live += answer.counted

    def count(self, progress: Callable[[int, int], None] | None) -> None:
        """Count what is left, until it is done or time is up."""
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
        self._result.interrupted = not isinstance(error, Exception)
        self._fail([str(error) or type(error).__name__])
        self._result.elapsed_ns = self._result.elapsed_ns or monotonic_ns() - self._start_ns

    def _answers(self, tasks: Iterable[tuple[Tag, Task]]) -> Iterator[tuple[Tag, Answer]]:
        """Answers to `tasks`; notes where time was up before all of them were there."""
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
                            seed=self._seed,
                        ),
                    )

    def _input_chunks(self, inputs: Inputs) -> Iterator[tuple[dict[str, list[int]], CountTexts]]:
        """Samples by what they send, for a worker at a time. Token ids need none and are recorded here."""
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
