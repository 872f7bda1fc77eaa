"""One worker process of the pool, seen from the parent: started, given jobs, watched, ended."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_bench.child import Child, python
from pytest_bench.clock import monotonic_ns
from pytest_bench.tokens.messages import ANSWERS, Answer, Channel, Load, Task
from pytest_bench.tokens.shards import Shard

COMMAND = python("pytest_bench.tokens.worker")
_KEEP_MEMORY = {name: str(1 << 28) for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")}
"""Settings of glibc: memory that one range needed is kept for the next, instead of given back and faulted in again."""
_LAST_MOMENT_S = 0.5


@dataclass
class Job:
    """A task, what its answer is for, and how often it was tried."""

    task: Task
    tag: Any
    limit_s: float
    """Longest time without any answer of the worker that holds it."""
    name: str = ""
    """Of a tokenizer to be loaded."""
    run: object = None
    """Which run of the pool wants the answer."""
    attempts: int = 1


class WorkerProcess:
    """A started worker. `jobs` holds what it was given and has not answered, by number, oldest first."""

    def __init__(self, shard: Shard, *, command: Sequence[str], idle: bool) -> None:
        """Start it. Raises `OSError` if it cannot be started."""
        self.jobs: dict[int, Job] = {}
        self._heard_ns = monotonic_ns()
        self._numbers = itertools.count()
        arguments = ["--cpus", ",".join(map(str, shard.cpus))]
        self._child = Child(
            [*command, *arguments, *(["--idle"] if idle else [])],
            environment={
                "RAYON_NUM_THREADS": str(shard.threads),
                "TOKENIZERS_PARALLELISM": "true",
                **_KEEP_MEMORY,
            },
        )
        self._channel: Channel[Task, Answer] = Channel(self.fileno(), self._child.stdin.fileno(), ANSWERS)

    def fileno(self) -> int:
        """The descriptor that becomes readable if an answer arrives, or if the worker is gone."""
        return self._child.stdout.fileno()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def loading(self) -> bool:
        """Whether it is loading a tokenizer: it is given nothing else meanwhile."""
        return any(isinstance(job.task, Load) for job in self.jobs.values())

    def give(self, job: Job) -> None:
        """Hand over a job. `answers` notices a worker that is gone, and `overdue` one that does not read."""
        if not self.jobs:
            self._heard_ns = monotonic_ns()
        number = next(self._numbers)
        self.jobs[number] = job
        with contextlib.suppress(OSError):
            self._channel.send(number, job.task, job.limit_s)

    def answers(self) -> Iterator[tuple[Job, Answer]]:
        """Answers that have arrived. Raises `EOFError` if the worker is gone."""
        while self._child.readable():
            number, answer = self._channel.receive()
            self._heard_ns = monotonic_ns()
            yield self.jobs.pop(number), answer

    def overdue(self) -> str | None:
        """What it did not do in time; None if it is in time."""
        job = next(iter(self.jobs.values()), None)
        if job is None or monotonic_ns() - self._heard_ns <= job.limit_s * 1e9:
            return None
        if isinstance(job.task, Load):
            return f"did not finish loading {job.name} within {job.limit_s:g} s"
        return f"did not answer for {job.limit_s:g} s"

    def end(self, *, gone: bool = False) -> str:
        """Kill it (it holds nothing worth keeping), reap it, and say how it ended and what it last said.

        `gone`: it has closed its output, and is given a moment to end by itself so that its status is its own.
        """
        status = self._child.wait(_LAST_MOMENT_S if gone else 0.0)
        self._child.stop()
        if status is None:
            return "was stopped"
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        said = self._child.stderr_tail().splitlines()
        return f"{how}, saying {said[-1]!r}" if said else how
