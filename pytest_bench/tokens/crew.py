"""The worker processes of a pool, supervised: started, watched, replaced when they die, ended."""

from __future__ import annotations

import itertools
import logging
import selectors
from collections.abc import Iterator, Sequence

import msgspec

from pytest_bench.clock import monotonic_ns
from pytest_bench.tokens.cpus import Shard
from pytest_bench.tokens.process import Job, WorkerProcess
from pytest_bench.tokens.wire import Answer, Load, Task

_log = logging.getLogger(__name__)

TICK_S = 0.1
"""Longest wait, in seconds, before time limits are looked at again."""
_PATIENCE_NS = 500_000_000
_MOST_DEATHS = 3
"""Deaths of one place, without an answer between them, after which it stays empty until `revive`."""


class Loading(msgspec.Struct, frozen=True):
    """A tokenizer that every worker holds, or is about to."""

    task: Load
    name: str
    timeout_s: float


class Event(msgspec.Struct, frozen=True):
    """What became of a job: an answer, or None with the reason why the worker that held it is gone."""

    place: Place
    job: Job
    answer: Answer | None
    reason: str = ""


class Place:
    """One worker's place in the pool: the process in it may be replaced."""

    def __init__(self, number: int, shard: Shard) -> None:
        self.number = number
        self.shard = shard
        self.worker: WorkerProcess | None = None
        self.loads: dict[int, Loading] = {}
        """Unanswered jobs that load a tokenizer: the worker is given nothing else meanwhile."""
        self.warm_by_ns = 0
        self.deaths = 0

    @property
    def in_flight(self) -> int:
        return len(self.worker.in_flight) if self.worker is not None else 0

    @property
    def empty_for_good(self) -> bool:
        return self.worker is None and self.deaths >= _MOST_DEATHS

    def __str__(self) -> str:
        process = f" (process {self.worker.pid})" if self.worker is not None else ""
        return f"pool worker {self.number}{process}"


class Crew:
    """All places of a pool. Every worker that is started loads all tokenizers in `loadings` first."""

    def __init__(
        self, shards: Sequence[Shard], *, command: Sequence[str], idle: bool, job_timeout_s: float
    ) -> None:
        self.places = [Place(number, shard) for number, shard in enumerate(shards)]
        self.loadings: list[Loading] = []
        self._command = tuple(command)
        self._idle = idle
        self._job_timeout_s = job_timeout_s
        self._numbers = itertools.count(1)
        self._selector = selectors.DefaultSelector()

    def revive(self) -> None:
        """Give every place its chance again, and end workers that do not get done with what a run left behind.

        A run that was given up leaves jobs with the workers. They would hold up what comes next.
        """
        patience_ns = monotonic_ns() + _PATIENCE_NS
        while any(place.in_flight for place in self.places) and monotonic_ns() < patience_ns:
            for _ in self.turn():
                pass
        for place in self.places:
            if place.in_flight:
                self.empty(place)
            place.deaths = 0

    def fill(self) -> None:
        """Start a worker in every empty place that has not been given up. Raises `OSError` where none starts."""
        for place in self.places:
            if place.worker is None and not place.empty_for_good:
                place.worker = WorkerProcess(
                    place.number, place.shard, command=self._command, idle=self._idle
                )
                self._selector.register(place.worker.output, selectors.EVENT_READ, place)
                for loading in self.loadings:
                    self.warm(place, loading)

    def warm(self, place: Place, loading: Loading) -> None:
        """Have the worker in `place` load a tokenizer, within the time that this is given."""
        job = Job(next(self._numbers), loading.task)
        place.loads[job.number] = loading
        place.warm_by_ns = monotonic_ns() + int(loading.timeout_s * 1e9)
        self._send(place, job)

    def give(self, place: Place, task: Task, attempts: int) -> int:
        """Hand `task` to the worker in `place`; returns the number of the job."""
        job = Job(next(self._numbers), task, attempts)
        self._send(place, job)
        return job.number

    def turn(self) -> Iterator[Event]:
        """Wait until something happens, at most `TICK_S`, and tell what became of jobs."""
        for key, _ in self._selector.select(TICK_S):
            place: Place = key.data
            worker = place.worker
            if worker is None:
                continue
            if key.fd == worker.input:
                worker.flush()
                self._watch_input(worker, place)
                continue
            answers, open_still = worker.receive()
            for job, answer in answers:
                place.deaths = 0
                place.loads.pop(job.number, None)
                yield Event(place, job, answer)
            if not open_still:
                yield from self._bury(place, None)
        for place in self.places:
            yield from self._enforce_limits(place)

    def empty(self, place: Place) -> None:
        """End the worker in `place` without replacing it before the next `revive`."""
        if place.worker is not None:
            self._discharge(place.worker)
            place.worker = None
        place.loads.clear()
        place.deaths = _MOST_DEATHS

    def close(self) -> None:
        """End every worker. Idempotent."""
        for place in self.places:
            self.empty(place)

    def _send(self, place: Place, job: Job) -> None:
        if place.worker is not None:
            place.worker.send(job)
            self._watch_input(place.worker, place)

    def _watch_input(self, worker: WorkerProcess, place: Place) -> None:
        watched = worker.input in self._selector.get_map()
        if worker.wants_to_write and not watched:
            self._selector.register(worker.input, selectors.EVENT_WRITE, place)
        elif watched and not worker.wants_to_write:
            self._selector.unregister(worker.input)

    def _enforce_limits(self, place: Place) -> Iterator[Event]:
        worker = place.worker
        if worker is None or not worker.in_flight:
            return
        now_ns = monotonic_ns()
        if place.loads and now_ns > place.warm_by_ns:
            slow = next(iter(place.loads.values()))
            yield from self._bury(place, f"did not finish loading {slow.name} within {slow.timeout_s:g} s")
        elif not place.loads and now_ns - worker.busy_since_ns > self._job_timeout_s * 1e9:
            yield from self._bury(place, f"did not answer for {self._job_timeout_s:g} s")

    def _bury(self, place: Place, reason: str | None) -> Iterator[Event]:
        worker = place.worker
        if worker is None:
            return
        who = str(place)
        ended = self._discharge(worker, gone=reason is None)
        place.worker = None
        place.loads.clear()
        place.deaths += 1
        message = f"{who} {reason or ended}"
        _log.warning("%s", message)
        for job in worker.in_flight.values():
            yield Event(place, job, None, message)

    def _discharge(self, worker: WorkerProcess, *, gone: bool = False) -> str:
        for descriptor in (worker.input, worker.output):
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        return worker.end(gone=gone)
