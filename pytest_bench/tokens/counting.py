"""Counting a phase after it is over: its text logs, and its inputs, into the counts log.

Ranges of the logs go to the pool; each is recorded as it finishes, so that a timeout, an interrupt or a dead
process loses only what it held. Every request and every sample is counted or pending, never guessed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from pytest_bench.clock import monotonic_ns
from pytest_bench.errors import EvidenceError, TokensError
from pytest_bench.lines import encode_line, end_line, header_line, read_end
from pytest_bench.tokens.counts import COUNTS_LOG, COUNTS_VERSION, InputTokens, Outcome
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.verification import Recheck
from pytest_bench.tokens.wire import Answer, CountRange, Counts, CountTexts, Failed, RangeCounts, Task

Input = str | Sequence[int]
"""What a sample sends: text (a chat rendered through its template), or token ids as they are."""

SAMPLE_SHARE = 0.01
SAMPLE_LEAST = 20
_MOST_FAILURES = 50


class CountingResult(msgspec.Struct, kw_only=True):
    """What became of a phase's texts. Token metrics need `complete`; else they are null and the point an error."""

    counted: int = 0
    """Requests of which every text was counted."""
    pending: int = 0
    """Requests of which a text was not."""
    inputs_counted: int = 0
    inputs_pending: int = 0
    output_tokens: int = 0
    input_tokens: int = 0
    timed_out: bool = False
    interrupted: bool = False
    failures: list[str] = []
    """What went wrong, at most `_MOST_FAILURES` of it."""
    backend: str
    tokenizer: str
    """Digest of the tokenizer."""
    elapsed_ns: int = 0
    """Counting alone."""
    verified: int = 0
    """Texts that the authority counted again and found equal."""
    verify_elapsed_ns: int = 0
    live: int = 0
    """Requests that were counted during the phase already."""

    @property
    def complete(self) -> bool:
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
    inputs: Iterable[tuple[int, Input]] = (),
    texts: Sequence[Path] | None = None,
    output: Path | None = None,
    timeout_s: float = 0.0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CountingResult:
    """Count the text logs of the phase in `folder`, and `inputs` by sample index, into its counts log.

    `texts` names the logs where they are not `texts.*.jsonl` in `folder`, `output` the counts log where it is not
    `tokens.jsonl` there; it must not exist. `timeout_s` limits counting, its verification included; 0 is no
    limit. `progress` is told requests counted and requests in all, every now and then.

    A timeout, a dead worker, a text that cannot be counted end in a result that says so. Raises `TokensError`
    with the text where the authority disagrees with the back end, and `EvidenceError` where a log cannot be
    read. Whatever is raised, Ctrl-C included, the counts log is ended first and says how far it came.
    """
    logs = sorted(folder.glob("texts.*.jsonl")) if texts is None else list(texts)
    if not logs:
        raise EvidenceError(f"{folder}: holds no text log: there is nothing to count")
    result = CountingResult(backend=tokenizer.backend, tokenizer=tokenizer.source.digest, failures=[])
    counting = _Counting(tokenizer, result, logs, seed=seed, timeout_s=timeout_s, progress=progress)
    with _CountsLog(output or folder / COUNTS_LOG, tokenizer, result) as counts_log:
        counting.count(counts_log, inputs)
        counting.verify()
    return result


class _CountsLog:
    """The counts log while it is written: ended on every way out."""

    def __init__(self, path: Path, tokenizer: Tokenizer, result: CountingResult) -> None:
        self._path = path
        self._result = result
        self._lines = 0
        self._header = header_line(
            "tokens",
            COUNTS_VERSION,
            backend=tokenizer.backend,
            tokenizer=tokenizer.source.digest,
            tokenizer_name=tokenizer.source.name,
        )
        self._stream: IO[bytes]

    def __enter__(self) -> _CountsLog:
        try:
            self._stream = self._path.open("xb", buffering=0)
        except FileExistsError as error:
            raise EvidenceError(
                f"{self._path}: exists: this phase was counted already; recount it into another file"
            ) from error
        self._stream.write(self._header)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        result = self._result
        if error is not None:
            result.interrupted = not isinstance(error, TokensError | EvidenceError)
            result.failures.append(str(error) or type(error).__name__)
        with self._stream as stream:
            stream.write(
                end_line(
                    self._lines,
                    outcome=result.outcome,
                    counted=result.counted,
                    pending=result.pending,
                    inputs_counted=result.inputs_counted,
                    inputs_pending=result.inputs_pending,
                )
            )
            os.fsync(stream.fileno())

    def add(self, data: bytes, lines: int) -> None:
        """Append finished lines."""
        self._stream.write(data)
        self._lines += lines


class _Counting:
    """One phase being counted."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        result: CountingResult,
        logs: Sequence[Path],
        *,
        seed: int,
        timeout_s: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._result = result
        self._logs = logs
        self._seed = seed
        self._progress = progress
        self._start_ns = monotonic_ns()
        self._deadline_ns = self._start_ns + int(timeout_s * 1e9) if timeout_s else None
        self._total = sum(records_in(log) for log in logs)
        self._recheck = Recheck(tokenizer, random.Random(seed))  # noqa: S311 - a sample, not a secret
        result.pending = self._total

    def count(self, counts_log: _CountsLog, inputs: Iterable[tuple[int, Input]]) -> None:
        result = self._result
        for tag, answer in self._tokenizer.pool.run(self._tasks(inputs), deadline_ns=self._deadline_ns):
            match answer:
                case RangeCounts():
                    counts_log.add(answer.lines, answer.written)
                    result.counted += answer.counted
                    result.pending -= answer.counted
                    result.output_tokens += answer.tokens
                    self._fail(answer.failures)
                    if isinstance(tag, Path):
                        self._recheck.offer_lines(tag, answer.samples)
                case Counts() if isinstance(tag, _InputChunk):
                    self._record_inputs(counts_log, tag, answer)
                case _:
                    self._fail([_describe(tag, answer)])
            if self._progress is not None:
                self._progress(result.counted, self._total)
        result.timed_out = self._is_late()
        result.elapsed_ns = monotonic_ns() - self._start_ns
        if result.pending and not result.timed_out and not result.failures:
            self._fail([f"{result.pending} requests whose texts the logs should hold are not in them"])

    def verify(self) -> None:
        """Have the authority count the sample again; its time is reported apart and bounded by counting's own."""
        result = self._result
        if self._tokenizer.backend == "tokenizers" or result.timed_out:
            return
        start_ns = monotonic_ns()
        enough = self._recheck.run(allowance_ns=result.elapsed_ns // 10, deadline_ns=self._deadline_ns)
        result.verified = self._recheck.verified
        result.verify_elapsed_ns = monotonic_ns() - start_ns
        self._fail(self._recheck.failures)
        result.timed_out = not enough and self._is_late()

    def _tasks(self, inputs: Iterable[tuple[int, Input]]) -> Iterator[tuple[Path | _InputChunk, Task]]:
        tokenizer = self._tokenizer
        share = max(SAMPLE_SHARE, SAMPLE_LEAST / self._total) if self._total else 0.0
        for log in self._logs:
            for start, stop in cut(log, tokenizer.chunk_characters):
                yield (
                    log,
                    CountRange(
                        key=tokenizer.key,
                        path=str(log),
                        start=start,
                        stop=stop,
                        sample_share=min(1.0, share),
                        seed=self._seed,
                    ),
                )
        for chunk in _gather(inputs, tokenizer.chunk_characters):
            self._result.inputs_pending += len(chunk.samples)
            yield chunk, CountTexts(key=tokenizer.key, texts=chunk.texts)

    def _record_inputs(self, counts_log: _CountsLog, chunk: _InputChunk, answer: Counts) -> None:
        counts = [*answer.counts, *chunk.counts]
        encode = msgspec.json.Encoder().encode
        samples = zip(chunk.samples, chunk.places, strict=True)
        found = [InputTokens(sample_index=sample, input=counts[place]) for sample, place in samples]
        counts_log.add(b"".join(encode_line(encode(entry)) for entry in found), len(found))
        known = [entry.input for entry in found if entry.input is not None]
        self._result.inputs_counted += len(known)
        self._result.inputs_pending -= len(known)
        self._result.input_tokens += sum(known)
        self._fail(answer.failures)
        self._recheck.offer_texts(chunk.texts, answer.counts)

    def _fail(self, failures: Iterable[str]) -> None:
        kept = self._result.failures
        kept.extend(list(failures)[: _MOST_FAILURES - len(kept)])

    def _is_late(self) -> bool:
        return self._deadline_ns is not None and monotonic_ns() >= self._deadline_ns
