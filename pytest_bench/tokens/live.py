"""Live counting: count texts while their phase runs, so that token figures can be shown during the phase.

A thread reads the text logs that the load workers write and counts them in a pool of its own, at the lowest priority.
Each range of a log is counted completely or not at all. `count_phase` counts the ranges that are left after the phase.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from pytest_bench.cpus import process_cpus
from pytest_bench.errors import BenchError
from pytest_bench.tokens.messages import CountRange, RangeCounts
from pytest_bench.tokens.shards import plan_lane
from pytest_bench.tokens.text_log import cut, written_lines
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.tokens.verification import LEAST

_log = logging.getLogger(__name__)

POLL_S = 0.25
SAMPLE_SHARE = 0.2
"""Share of the records of each range that are kept as samples, but at least `LEAST` records. The number that will be
recounted is not known during the phase; it is never larger."""
_MOST_RESULT_BYTES = 64 << 20


class LiveRange(NamedTuple):
    """A counted range of a log."""

    log: Path
    start: int
    stop: int
    counts: RangeCounts


class LiveCounts(msgspec.Struct, frozen=True):
    """The ranges that were counted during a phase, for `count_phase`."""

    ranges: list[LiveRange]


def lane_beside(
    tokenizer: Tokenizer,
    folder: Path,
    *,
    workers: int,
    load_workers: int | None = None,
    warmup_timeout_s: float = 25.0,
) -> LiveLane:
    """Return a live lane that counts the logs in `folder` with `workers` processes and the back end of `tokenizer`.

    The processes are reused for the next phase and end with the tokenizer's pool. They run at the lowest priority, and
    not on the CPUs of the `load_workers` load workers (None: not known) if there are enough CPUs. Raises `TokensError`
    if the tokenizer cannot be loaded in them.
    """
    own = process_cpus().allowed
    cpus, left = plan_lane(tokenizer.pool.cpus, own, lane=workers, load=load_workers)
    pool = tokenizer.pool.idle_beside(cpus, workers)
    # Not "auto": the prompts may have ruled out a back end that the probe set alone accepts.
    idle = pool.load(tokenizer.source, backend=tokenizer.backend, warmup_timeout_s=warmup_timeout_s)
    return LiveLane(idle, folder, load_cpus=left)


class LiveLane:
    """Counts during one phase, as a context manager that stops counting on exit.

    `tokenizer` belongs to a pool that nothing else uses during the phase. `requests` and `tokens` are the numbers
    counted so far. `load_cpus` are the CPUs that are left to load workers; empty: all. The lane opens the logs itself,
    so reading does not delay the load workers.
    """

    def __init__(self, tokenizer: Tokenizer, folder: Path, *, load_cpus: tuple[int, ...] = ()) -> None:
        self.requests = 0
        self.tokens = 0
        self.load_cpus = load_cpus
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
        """Stop counting and return the counted ranges. Idempotent."""
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
