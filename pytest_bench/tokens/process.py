"""One worker process of the pool, seen from the parent: started, given jobs, watched, ended."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import IO, Any

from pytest_bench.clock import monotonic_ns
from pytest_bench.tokens.cpus import Shard
from pytest_bench.tokens.messages import ANSWERS, Answer, Channel, Load, Task, shared_memory

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "pytest_bench.tokens.worker")
_KEEP_MEMORY = {name: str(1 << 28) for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")}
"""Settings of glibc: memory that one range needed is kept for the next, instead of given back and faulted in again."""
_STDERR_TAIL_BYTES = 2000
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
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._memory = shared_memory()
        ours, theirs = socket.socketpair()
        with theirs:
            descriptors = theirs.fileno(), self._memory.fileno()
            arguments = ["--channel", *map(str, descriptors), "--cpus", ",".join(map(str, shard.cpus))]
            self._process = subprocess.Popen(
                [*command, *arguments, *(["--idle"] if idle else [])],
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "RAYON_NUM_THREADS": str(shard.threads),
                    "TOKENIZERS_PARALLELISM": "true",
                    **_KEEP_MEMORY,
                },
                pass_fds=descriptors,
                # A group of its own: Ctrl-C in a terminal reaches the parent only, from the first instruction on.
                process_group=0,
            )
        self.connection = Connection(ours.detach())
        self._channel: Channel[Task, Answer] = Channel(self.connection, self._memory.fileno(), ANSWERS)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def loading(self) -> bool:
        """Whether it is loading a tokenizer: it is given nothing else meanwhile."""
        return any(isinstance(job.task, Load) for job in self.jobs.values())

    def give(self, job: Job) -> None:
        """Hand over a job. A worker that is gone is noticed by `answers`, not here."""
        if not self.jobs:
            self._heard_ns = monotonic_ns()
        # The lowest free number, because a number has its place in the shared memory.
        number = next(number for number in itertools.count() if number not in self.jobs)
        self.jobs[number] = job
        with contextlib.suppress(OSError):
            self._channel.send(number, job.task)

    def answers(self) -> Iterator[tuple[Job, Answer]]:
        """Answers that have arrived. Raises `EOFError` or `OSError` if the worker is gone."""
        while self.connection.poll():
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

        `gone`: it has closed its socket, and is given a moment to end by itself so that its status is its own.
        """
        if gone:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_MOMENT_S)
        status = self._process.poll()
        self._process.kill()
        self.connection.close()
        self._memory.close()
        self._process.wait()
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_TAIL_BYTES))
        said = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        self._stderr.close()
        if status is None:
            return "was stopped"
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}, saying {said[-1]!r}" if said else how
