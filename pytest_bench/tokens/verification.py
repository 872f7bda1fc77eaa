"""Counts a random sample of a phase's texts again, with the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from pytest_bench.clock import monotonic_ns
from pytest_bench.errors import TokensError
from pytest_bench.tokens.counts import TEXT_KINDS
from pytest_bench.tokens.messages import Failed, Recount, Recounted, Sample
from pytest_bench.tokens.text_log import read_record, texts_of
from pytest_bench.tokens.tokenizer import Tokenizer

SHARE = 0.01
LEAST = 20
"""Number of texts that are counted again even if counting took little time."""
_SMALLEST_BATCH = 4


class Verification:
    """Chooses texts while a phase is counted, and counts them again afterwards."""

    def __init__(self, tokenizer: Tokenizer, inputs: Callable[[int], object] | None, random: Random) -> None:
        self._tokenizer = tokenizer
        self._inputs = inputs
        self._random = random
        self._chosen: list[tuple[Path, Sample] | tuple[int, int]] = []
        self.texts = 0
        """Number of texts whose second count was equal."""
        self.failures: list[str] = []
        """Why texts could not be counted again."""

    @staticmethod
    def share(total: int) -> float:
        """Share of `total` texts to choose: one in a hundred, but at least `LEAST` texts."""
        return min(1.0, max(SHARE, LEAST / total)) if total else 0.0

    def add_lines(self, log: Path, samples: Sequence[Sample], most: int | None = None) -> None:
        """Add lines of a log that a pool worker chose at random; with `most`, only that many of them."""
        taken = samples if most is None or most >= len(samples) else self._random.sample(samples, most)
        self._chosen.extend((log, sample) for sample in taken)

    def add_inputs(self, counts: Sequence[tuple[int, int]], *, of: int) -> None:
        """Choose among counted inputs (pairs of sample index and count); `of` is the number of all inputs."""
        self._chosen.extend(self._random.sample(counts, math.ceil(self.share(of) * len(counts))))

    def run(self, allowance_ns: int, *, give_up: Callable[[], bool]) -> bool:
        """Count all chosen texts again, or as many as `allowance_ns` allows, but at least `LEAST`.

        Returns whether it got that far before `give_up` returned true. Raises `TokensError` with the text if the count
        of the reference differs.
        """
        wanted, done = min(LEAST, len(self._chosen)), 0
        for size, answer in self._tokenizer.pool.run(
            self._tasks(monotonic_ns() + allowance_ns), give_up=give_up
        ):
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

    def _tasks(self, stop_ns: int) -> Iterator[tuple[int, Recount]]:
        self._random.shuffle(self._chosen)
        # Few at a time, because tasks that have been handed out when the time is over are still counted.
        batch = max(_SMALLEST_BATCH, self._tokenizer.pool.threads_per_worker)
        for start in range(0, len(self._chosen), batch):
            if start >= LEAST and monotonic_ns() >= stop_ns:
                return
            chosen = self._chosen[start : start + batch]
            texts = [text for place, what in chosen for text in self._texts(place, what)]
            names, contents, counts = map(list, zip(*texts, strict=True)) if texts else ([], [], [])
            yield len(chosen), Recount(key=self._tokenizer.key, names=names, texts=contents, counts=counts)

    def _texts(self, place: Path | int, what: Sample | int) -> Iterator[tuple[str, str, int]]:
        """Yield a name, the text and its count, for each text of a sampled line or input."""
        if isinstance(what, int):
            if self._inputs is not None and isinstance(place, int):
                yield f"input of sample {place}", str(self._inputs(place)), what
            return
        record = read_record(str(place), what.offset, what.length)
        for kind, text, count in zip(TEXT_KINDS, texts_of(record), what.counts, strict=True):
            if text and count is not None:
                yield f"{place}: byte {what.offset}, request {record.request_id}, {kind}", text, count
