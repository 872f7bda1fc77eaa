"""The random sample of a phase that the authority counts again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from pytest_bench.clock import monotonic_ns
from pytest_bench.errors import TokensError
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.wire import Failed, Recounted, RecountLines, RecountTexts, Sample, Task

SHARE = 0.01
LEAST = 20
"""Texts that are counted again however little time counting took."""
_SMALLEST_BATCH = 4


class Verification:
    """Texts chosen while a phase is counted, and their recount by the authority once it is over."""

    def __init__(self, tokenizer: Tokenizer, inputs: Callable[[int], object] | None, random: Random) -> None:
        self._tokenizer = tokenizer
        self._inputs = inputs
        self._random = random
        self._lines: list[tuple[Path, Sample]] = []
        self._samples: list[tuple[int, int]] = []
        self.texts = 0
        """Texts counted again and found equal."""
        self.failures: list[str] = []
        """Why some could not be counted again."""

    @staticmethod
    def share(total: int) -> float:
        """Share of `total` texts to choose: one in a hundred, and `LEAST` of them at least."""
        return min(1.0, max(SHARE, LEAST / total)) if total else 0.0

    def add_lines(self, log: Path, samples: Sequence[Sample], most: int | None = None) -> None:
        """Take lines of a log that its pool worker chose at random, or only so many of them."""
        taken = samples if most is None or most >= len(samples) else self._random.sample(samples, most)
        self._lines.extend((log, sample) for sample in taken)

    def add_inputs(self, counts: Sequence[tuple[int, int]], *, of: int) -> None:
        """Choose among inputs of text that were counted, pairs of sample index and count, out of `of` in all."""
        wanted = math.ceil(self.share(of) * len(counts))
        self._samples.extend(self._random.sample(counts, wanted))

    def run(self, allowance_ns: int, *, give_up: Callable[[], bool]) -> bool:
        """Count again until all is done or `allowance_ns` is used up, the first `LEAST` in any case.

        Returns whether it got that far before `give_up` said so. Raises `TokensError` showing the text where the
        authority's count is another.
        """
        stop_ns = monotonic_ns() + allowance_ns
        wanted = min(LEAST, len(self._lines) + len(self._samples))
        done = 0
        for size, answer in self._tokenizer.pool.run(self._tasks(stop_ns), give_up=give_up):
            done += size
            match answer:
                case Recounted(texts, []):
                    self.texts += texts
                case Recounted(_, disagreements):
                    raise TokensError(
                        f"tokenizer {self._tokenizer.source.name}: `{self._tokenizer.backend}` and `tokenizers` "
                        f"count differently; use `backend: tokenizers`. {disagreements[0]}"
                    )
                case Failed(message):
                    self.failures.append(f"a sample could not be counted again: {message}")
        return done >= wanted

    def _tasks(self, stop_ns: int) -> Iterator[tuple[int, Task]]:
        chosen: list[tuple[Path, Sample] | tuple[int, int]] = [*self._lines, *self._samples]
        self._random.shuffle(chosen)
        # Few at a time: what is on its way when time is up is still counted.
        batch = max(_SMALLEST_BATCH, self._tokenizer.pool.threads_per_worker)
        for start in range(0, len(chosen), batch):
            if start >= LEAST and monotonic_ns() >= stop_ns:
                return
            by_log: defaultdict[Path, list[Sample]] = defaultdict(list)
            inputs: list[tuple[int, int]] = []
            for place, what in chosen[start : start + batch]:
                if isinstance(what, Sample) and isinstance(place, Path):
                    by_log[place].append(what)
                elif isinstance(what, int) and isinstance(place, int):
                    inputs.append((place, what))
            for log, samples in by_log.items():
                yield len(samples), RecountLines(key=self._tokenizer.key, path=str(log), samples=samples)
            if inputs and self._inputs is not None:
                yield len(inputs), self._recount_inputs(self._inputs, inputs)

    def _recount_inputs(
        self, ask: Callable[[int], object], inputs: Sequence[tuple[int, int]]
    ) -> RecountTexts:
        return RecountTexts(
            key=self._tokenizer.key,
            names=[f"input of sample {sample}" for sample, _ in inputs],
            texts=[str(ask(sample)) for sample, _ in inputs],
            counts=[count for _, count in inputs],
        )
