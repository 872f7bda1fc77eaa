"""The live lane: counts a bounded share of a phase's texts while it runs, so that live figures exist.

It reads behind the load workers, from the text logs that they write, on a pool of its own at the lowest
priority. What it does not reach, or fails at, is left to the counting at the end: a range of a log is done
here whole or not at all.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from pytest_bench.errors import BenchError
from pytest_bench.tokens.cpus import plan_lane
from pytest_bench.tokens.messages import CountRange, RangeCounts
from pytest_bench.tokens.text_log import cut, written_lines
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.verification import LEAST

_log = logging.getLogger(__name__)

POLL_S = 0.25
SAMPLE_SHARE = 0.2
"""Share of the records of each range to remember as samples, and `LEAST` at least: how many of them will be recounted
is not known yet, and is never more."""
_MOST_RESULT_BYTES = 64 << 20


class LiveRange(NamedTuple):
    """A range of a log, counted."""

    log: Path
    start: int
    stop: int
    counts: RangeCounts


class LiveCounts(msgspec.Struct, frozen=True):
    """What the lane leaves for `count_phase`."""

    ranges: list[LiveRange]


def lane_beside(
    tokenizer: Tokenizer,
    folder: Path,
    *,
    workers: int,
    load_workers: int | None = None,
    warmup_timeout_s: float = 25.0,
) -> LiveLane:
    """A lane of `workers` behind the phase whose logs land in `folder`, counting as `tokenizer` does.

    Its processes are kept for the next phase, and end with the tokenizer's pool. They run at the lowest priority,
    off the CPUs of load workers (`load_workers`, None: as many as are needed) where there are enough. Raises
    `TokensError` where the tokenizer cannot be loaded in them.
    """
    allowed = tokenizer.pool.cpus
    mask = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(allowed.allowed)
    cpus, own = plan_lane(allowed, mask, lane=workers, load=load_workers)
    pool = tokenizer.pool.idle_beside(cpus, workers)
    # The back end that was proven: one that a sample of prompts ruled out must not count here.
    idle = pool.load(tokenizer.source, backend=tokenizer.backend, warmup_timeout_s=warmup_timeout_s)
    return LiveLane(idle, folder, own_cpus=own)


class LiveLane:
    """Counts during one phase, as a context manager: leaving it stops the lane.

    `tokenizer` belongs to a pool of the lane's own, which nothing else uses meanwhile (`idle=True`, away from the
    load workers' CPUs). `requests` and `tokens` are live figures, of what was counted so far; `own_cpus` is what load
    workers must leave to it. Reading never holds them up: a thread apart from their load writes the logs, and the
    lane opens them for itself.
    """

    def __init__(self, tokenizer: Tokenizer, folder: Path, *, own_cpus: tuple[int, ...] = ()) -> None:
        self.requests = 0
        self.tokens = 0
        self.own_cpus = own_cpus
        self.tokenizer = tokenizer
        self._folder = folder
        self._ranges: list[LiveRange] = []
        self._result_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live counting", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def finish(self) -> LiveCounts:
        """Stop, and hand over what was counted. Idempotent."""
        self._stop.set()
        self._thread.join()
        return LiveCounts(self._ranges)

    def _run(self) -> None:
        reached: dict[Path, int] = {}
        try:
            while not self._stop.wait(POLL_S) and self._result_bytes < _MOST_RESULT_BYTES:
                self._count(list(self._new_ranges(reached)))
        except (BenchError, OSError) as error:
            _log.warning("live counting stops, the rest is counted after the phase: %s", error)

    def _new_ranges(self, reached: dict[Path, int]) -> Iterator[tuple[Path, int, int]]:
        for log in sorted(self._folder.glob("texts.*.jsonl")):
            start = reached.get(log, 0)
            reached[log] = stop = written_lines(log, start)
            for first, last in cut(log, self.tokenizer.chunk_characters, start, stop):
                yield log, first, last

    def _count(self, ranges: list[tuple[Path, int, int]]) -> None:
        tasks = (
            (
                (log, start, stop),
                CountRange(
                    key=self.tokenizer.key,
                    path=str(log),
                    start=start,
                    stop=stop,
                    sample_share=SAMPLE_SHARE,
                    least_samples=LEAST,
                    seed=0,
                ),
            )
            for log, start, stop in ranges
        )
        for where, answer in self.tokenizer.pool.run(tasks, give_up=self._stop.is_set):
            if isinstance(answer, RangeCounts) and not answer.failures:
                self._ranges.append(LiveRange(*where, answer))
                self._result_bytes += len(answer.lines)
                self.requests += answer.counted
                self.tokens += answer.tokens
