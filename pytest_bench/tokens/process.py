"""One worker process of the pool, as the parent sees it."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_bench.child import Child, python
from pytest_bench.clock import monotonic_ns
from pytest_bench.tokens.messages import ANSWERS, Answer, Channel, Load, Task, shared_memory
from pytest_bench.tokens.shards import Shard

COMMAND = python("pytest_bench.tokens.worker")
_KEEP_MEMORY = {name: str(1 << 28) for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")}
"""Settings of glibc that keep the memory of one range for the next, instead of returning it to the system."""
_LAST_MOMENT_S = 0.5


@dataclass
class Job:
    """A task, the tag of its answer, and the number of attempts."""

    task: Task
    tag: Any
    limit_s: float
    """Upper bound on the time without an answer of its worker."""
    name: str = ""
    """Name of the tokenizer to load."""
    run: object = None
    """The run of the pool that waits for the answer."""
    attempts: int = 1


class WorkerProcess:
    """A started worker. `jobs` are those it has not answered, by number, oldest first."""

    def __init__(self, shard: Shard, *, command: Sequence[str], idle: bool) -> None:
        """Start it. Raises `OSError` if it cannot be started."""
        self.jobs: dict[int, Job] = {}
        self._heard_ns = monotonic_ns()
        self._numbers = itertools.count()
        arguments = ["--cpus", ",".join(map(str, shard.cpus)), *(["--idle"] if idle else [])]
        memory = shared_memory()
        try:
            self._child = Child(
                [*command, *arguments, *([] if memory is None else ["--memory", str(memory)])],
                environment={
                    "RAYON_NUM_THREADS": str(shard.threads),
                    "TOKENIZERS_PARALLELISM": "true",
                    **_KEEP_MEMORY,
                },
                descriptors=[] if memory is None else [memory],
            )
            self._channel: Channel[Task, Answer] = Channel(
                self.fileno(), self._child.stdin.fileno(), ANSWERS, memory=memory, fills_memory=True
            )
        finally:
            if memory is not None:
                os.close(memory)

    def fileno(self) -> int:
        """The descriptor that becomes readable if an answer arrives, or if the worker is gone."""
        return self._child.stdout.fileno()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def loading(self) -> bool:
        """Whether it is loading a tokenizer; it gets no other job meanwhile."""
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
        """Yield the answers that have arrived. Raises `EOFError` if the worker is gone."""
        while self._child.readable():
            number, answer = self._channel.receive()
            self._heard_ns = monotonic_ns()
            yield self.jobs.pop(number), answer

    def overdue(self) -> str | None:
        """Describe the time limit that it has exceeded; None if there is none."""
        job = next(iter(self.jobs.values()), None)
        if job is None or monotonic_ns() - self._heard_ns <= job.limit_s * 1e9:
            return None
        if isinstance(job.task, Load):
            return f"did not finish loading {job.name} within {job.limit_s:g} s"
        return f"did not answer for {job.limit_s:g} s"

    def end(self, *, gone: bool = False) -> str:
        """Kill it (it has no state worth keeping), and describe how it ended, with the last line of its output.

        `gone`: it has closed its output, and is given a moment to end by itself so that its status is its own.
        """
        status = self._child.wait(_LAST_MOMENT_S if gone else 0.0)
        self._child.stop()
        if status is None:
            return "was stopped"
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        said = self._child.stderr_tail().splitlines()
        return f"{how}, saying {said[-1]!r}" if said else how
