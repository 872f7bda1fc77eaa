"""The tokenizer pool: worker processes that count for a session.

Their number depends on the machine. Each loads a tokenizer once and serves every phase. A worker that dies or stops
answering is replaced, and its jobs are tried once more. The pool is used by one thread. No process is started before
the first tokenizer is loaded, and leaving the pool ends every process.
"""

from __future__ import annotations

import itertools
import logging
import selectors
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Generic, NamedTuple, Self, TypeVar

from pytest_bench.clock import monotonic_ns
from pytest_bench.cpus import Cpus, group_cpus
from pytest_bench.errors import TokensError
from pytest_bench.tokens.messages import Answer, BackendChoice, Failed, Load, Loaded, Task
from pytest_bench.tokens.probes import sample_prompts
from pytest_bench.tokens.process import COMMAND, Job, WorkerProcess
from pytest_bench.tokens.shards import Shard, plan_shards
from pytest_bench.tokens.source import TokenizerSource
from pytest_bench.tokens.tokenizer import Tokenizer

Tag = TypeVar("Tag")

_log = logging.getLogger(__name__)

_TICK_S = 0.1
"""Upper bound on the time between two checks of time limits."""
_DEPTH = 3
"""Number of jobs that a worker has at once: one is counted, one is decoded, one waits."""
_MOST_ATTEMPTS = 2
_MOST_DEATHS = 3
"""A worker that dies this often without an answer in between is not replaced during a run."""
_PATIENCE_NS = 500_000_000
"""Time that a worker gets to finish jobs of a run that was given up."""


class _Place:
    """A slot of the pool for one worker process, which may be replaced."""

    def __init__(self, number: int, shard: Shard) -> None:
        self.number = number
        self.shard = shard
        self.worker: WorkerProcess | None = None
        self.deaths = 0

    def __str__(self) -> str:
        process = f" (process {self.worker.pid})" if self.worker is not None else ""
        return f"pool worker {self.number}{process}"


class _Event(NamedTuple):
    """The result of a job: an answer, or None with the reason why its worker is gone."""

    place: _Place
    job: Job
    answer: Answer | None
    reason: str = ""


class _Run(Generic[Tag]):
    """One run of tasks: those not yet handed out, those that a worker has, and those that wait for a second attempt."""

    def __init__(self, tasks: Iterable[tuple[Tag, Task]], limit_s: float) -> None:
        self._coming = (Job(task, tag, limit_s, run=self) for tag, task in tasks)
        self._exhausted = False
        self._again: deque[Job] = deque()
        self._unanswered = 0

    @property
    def over(self) -> bool:
        """Whether every task has been handed out and answered."""
        return self._exhausted and not self._unanswered

    def feed(self, worker: WorkerProcess) -> None:
        """Hand tasks to a worker until it has enough; none while it loads a tokenizer."""
        if worker.loading:
            return
        while not self._exhausted and len(worker.jobs) < _DEPTH:
            if job := next(self._coming, None):
                worker.give(job)
                self._unanswered += 1
            self._exhausted = job is None
        # It is not known which job killed a worker. Each is tried again alone, so that only that one fails.
        if self._exhausted and self._again and not worker.jobs:
            worker.give(self._again.popleft())

    def settle(self, event: _Event) -> Iterator[tuple[Tag, Answer]]:
        """Yield the answer to a task of this run, if the event is one."""
        job = event.job
        if job.run is not self:
            return  # a tokenizer was loaded, or the job is of a run that was given up
        if event.answer is None and job.attempts < _MOST_ATTEMPTS:
            job.attempts += 1
            self._again.append(job)
            return
        self._unanswered -= 1
        yield job.tag, event.answer or Failed(f"tried twice: {event.reason}")

    def abandoned(self, reason: str) -> Iterator[tuple[Tag, Answer]]:
        """Yield a failure for each task that no worker has."""
        for job in itertools.chain(self._again, self._coming):
            yield job.tag, Failed(reason)


def _never() -> bool:
    return False


class TokenizerPool:
    """Worker processes for counting, as a context manager.

    `workers` is their number; None derives it from `cpus`, by default those of the control group. With `idle` they run
    at the lowest priority. A worker that gives no answer for `job_timeout_s` counts as dead.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        cpus: Cpus | None = None,
        idle: bool = False,
        job_timeout_s: float = 120.0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.cpus = group_cpus() if cpus is None else cpus
        self.shards = plan_shards(self.cpus, workers)
        self.notes: tuple[str, ...] = ()
        """Notes about workers that could not be pinned to their CPUs."""
        self._places = [_Place(number, shard) for number, shard in enumerate(self.shards)]
        self._command = tuple(command)
        self._lowest_priority = idle
        self._job_timeout_s = job_timeout_s
        self._loads: list[Job] = []
        self._loaded: dict[str, Loaded] = {}
        self._idle: dict[tuple[Cpus, int], TokenizerPool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every worker process, including those of `idle_beside`. Idempotent."""
        for place in self._places:
            self._empty(place)
        for pool in self._idle.values():
            pool.close()

    def idle_beside(self, cpus: Cpus, workers: int) -> TokenizerPool:
        """Return a pool of `workers` at the lowest priority on `cpus`. It is created once and ends with this pool.

        It may be used by another thread.
        """
        if (cpus, workers) not in self._idle:
            self._idle[cpus, workers] = TokenizerPool(
                workers=workers, cpus=cpus, idle=True, command=self._command
            )
        return self._idle[cpus, workers]

    @property
    def pids(self) -> list[int]:
        """Process ids of the running workers."""
        return [worker.pid for worker in self._workers()]

    @property
    def threads_per_worker(self) -> int:
        """Upper bound on the threads of a worker's library."""
        return max(shard.threads for shard in self.shards)

    def load(
        self,
        source: TokenizerSource,
        *,
        backend: BackendChoice = "auto",
        warmup_timeout_s: float = 25.0,
        prompts: Sequence[str] = (),
    ) -> Tokenizer:
        """Load a tokenizer in every worker and verify its back end, also on a sample of `prompts`.

        A tokenizer that is already loaded is not loaded again. Raises `TokensError` with the tokenizer and the pool
        worker, if a worker cannot load it or does not finish within `warmup_timeout_s` seconds.
        """
        key = f"{source.digest}:{backend}"
        if key not in self._loaded:
            task = Load(
                key=key,
                file=source.file,
                format=source.format,
                backend=backend,
                texts=sample_prompts(prompts),
            )
            self._loaded[key] = self._load(Job(task, None, warmup_timeout_s, source.name))
        # The same vocabulary may have another chat template in another folder.
        return Tokenizer(self, source, self._loaded[key])

    def _load(self, load: Job) -> Loaded:
        self._revive()
        self._fill()
        for place in self._places:
            if place.worker is not None:
                place.worker.give(load)
        loaded = [answer for answer in self._warm_up(load.name) if answer.key == load.task.key]
        if len({answer.backend for answer in loaded}) != 1:
            raise TokensError(f"tokenizer {load.name}: pool workers chose different back ends: {loaded}")
        self._loads.append(load)
        self.notes = tuple(sorted({answer.note for answer in loaded if answer.note is not None}))
        return loaded[0]

    def _warm_up(self, name: str) -> Iterator[Loaded]:
        """Wait until every worker has loaded its tokenizers. Raises `TokensError` for the first that fails."""
        while any(worker.loading for worker in self._workers()):
            for event in self._turn():
                if isinstance(event.answer, Loaded):
                    yield event.answer
                elif isinstance(event.job.task, Load):
                    self.close()
                    failed = isinstance(event.answer, Failed) and event.answer.message
                    why = f"pool worker {event.place.number}: {failed}" if failed else event.reason
                    raise TokensError(f"tokenizer {name}: {why}")

    def run(
        self, tasks: Iterable[tuple[Tag, Task]], *, give_up: Callable[[], bool] = _never
    ) -> Iterator[tuple[Tag, Answer]]:
        """Carry out tasks and yield each tag with its answer, in the order in which they finish.

        Tasks are taken from the iterable as workers become free. The jobs of a worker that dies are tried once more,
        each alone on a worker, and then answered `Failed`. `give_up` is called several times a second; once it returns
        true, the iteration ends and the other tasks stay unanswered.
        """
        self._revive()
        run = _Run(tasks, self._job_timeout_s)
        while not give_up():
            self._fill()
            for worker in self._workers():
                run.feed(worker)
            if run.over:
                return
            if not self._workers():
                yield from run.abandoned("no pool worker is left")
                return
            for event in self._turn():
                if isinstance(event.job.task, Load) and not isinstance(event.answer, Loaded):
                    self._empty(event.place)
                yield from run.settle(event)

    def _workers(self) -> list[WorkerProcess]:
        return [place.worker for place in self._places if place.worker is not None]

    def _revive(self) -> None:
        """Allow every slot a worker again, and end workers that are still busy with an earlier run."""
        patience_ns = monotonic_ns() + _PATIENCE_NS
        while any(worker.jobs for worker in self._workers()) and monotonic_ns() < patience_ns:
            for _ in self._turn():
                pass
        for place in self._places:
            if place.worker is not None and place.worker.jobs:
                self._empty(place)
            place.deaths = 0

    def _fill(self) -> None:
        """Start a worker in every empty slot that has not been given up. Raises `OSError`."""
        for place in self._places:
            if place.worker is None and place.deaths < _MOST_DEATHS:
                place.worker = WorkerProcess(place.shard, command=self._command, idle=self._lowest_priority)
                for load in self._loads:
                    place.worker.give(load)

    def _turn(self) -> Iterator[_Event]:
        """Wait for an event for up to `_TICK_S`, and yield the results of jobs."""
        with selectors.PollSelector() as selector:
            for place in self._places:
                if place.worker is not None:
                    selector.register(place.worker, selectors.EVENT_READ, place)
            readable: list[_Place] = [key.data for key, _ in selector.select(_TICK_S)]
        for place in readable:
            if place.worker is None:
                continue
            try:
                for job, answer in place.worker.answers():
                    place.deaths = 0
                    yield _Event(place, job, answer)
            except (EOFError, OSError):
                yield from self._drop_worker(place, None)
        for place in self._places:
            if place.worker is not None and (late := place.worker.overdue()) is not None:
                yield from self._drop_worker(place, late)

    def _drop_worker(self, place: _Place, reason: str | None) -> Iterator[_Event]:
        worker = place.worker
        if worker is None:
            return
        name = str(place)
        ended = worker.end(gone=reason is None)
        place.worker = None
        place.deaths += 1
        message = f"{name} {reason or ended}"
        _log.warning("%s", message)
        for job in worker.jobs.values():
            yield _Event(place, job, None, message)

    def _empty(self, place: _Place) -> None:
        """End the worker in a slot; it is not replaced before the next run."""
        if place.worker is not None:
            place.worker.end()
            place.worker = None
        place.deaths = _MOST_DEATHS
