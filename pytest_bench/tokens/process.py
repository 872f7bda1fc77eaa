"""One worker process of the pool, seen from the parent: started, spoken to without blocking, ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

import msgspec

from pytest_bench.clock import monotonic_ns
from pytest_bench.tokens.cpus import Shard
from pytest_bench.tokens.mailbox import Mailbox
from pytest_bench.tokens.wire import Answer, AnswerFrames, Task, TaskWriter

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "pytest_bench.tokens.worker")
_PIPE_BYTES = 1 << 20
_KEEP_MEMORY = {name: str(1 << 28) for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")}
"""Settings of glibc: what one range needed is kept for the next, rather than given back and faulted in again."""
_READ_BYTES = 1 << 16
_STDERR_TAIL_BYTES = 2000
_LAST_MOMENT_S = 0.5


class Job(msgspec.Struct):
    """A task on its way, and how often it was tried."""

    number: int
    task: Task
    attempts: int = 0


class WorkerProcess:
    """A started worker.

    `in_flight` holds the jobs that it was given and has not answered, oldest first. `busy_since_ns` is when it
    last answered, or was given work while it had none.
    """

    def __init__(self, number: int, shard: Shard, *, command: Sequence[str], idle: bool) -> None:
        """Start it. Raises `OSError` where the system cannot."""
        self.number = number
        self.in_flight: dict[int, Job] = {}
        self.busy_since_ns = monotonic_ns()
        self._frames = AnswerFrames()
        self._mailbox = Mailbox() if hasattr(os, "memfd_create") else None
        self._tasks = TaskWriter(self._mailbox)
        self._outgoing: list[memoryview] = []
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        arguments = ["--cpus", ",".join(map(str, shard.cpus)), *(["--idle"] if idle else [])]
        if self._mailbox is not None:
            arguments += ["--mailbox", str(self._mailbox.descriptor)]
        self._process = subprocess.Popen(
            [*command, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "RAYON_NUM_THREADS": str(shard.threads),
                "TOKENIZERS_PARALLELISM": "true",
                **_KEEP_MEMORY,
            },
            pass_fds=() if self._mailbox is None else (self._mailbox.descriptor,),
            # A group of its own: Ctrl-C in a terminal reaches the parent only, from the first instruction on.
            process_group=0,
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("no pipes to the pool worker")
        self.input = self._process.stdin.fileno()
        self.output = self._process.stdout.fileno()
        for descriptor in (self.input, self.output):
            os.set_blocking(descriptor, False)
            if hasattr(fcntl, "F_SETPIPE_SZ"):
                with contextlib.suppress(OSError):  # a smaller pipe is only slower
                    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def wants_to_write(self) -> bool:
        return bool(self._outgoing)

    def send(self, job: Job) -> None:
        """Hand over a job; what the pipe does not take now goes out with `flush`."""
        self._outgoing.append(memoryview(self._tasks.frame(job.number, job.task)))
        if not self.in_flight:
            self.busy_since_ns = monotonic_ns()
        self.in_flight[job.number] = job
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes. A worker that has gone is noticed by `receive`, not here."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self._outgoing:
                written = os.write(self.input, self._outgoing[0])
                self._outgoing[0] = self._outgoing[0][written:]
                if not self._outgoing[0]:
                    del self._outgoing[0]

    def receive(self) -> tuple[list[tuple[Job, Answer]], bool]:
        """Answers that have arrived, and whether the worker can still send more."""
        answers: list[tuple[Job, Answer]] = []
        try:
            while data := os.read(self.output, _READ_BYTES):
                for number, answer in self._frames.feed(data):
                    answers.append((self.in_flight.pop(number), answer))
                    if self._mailbox is not None:
                        self._mailbox.release(number)
                    self.busy_since_ns = monotonic_ns()
        except BlockingIOError:
            return answers, True
        return answers, False

    def end(self, *, gone: bool = False) -> str:
        """Kill it (it holds nothing worth keeping), reap it, and say how it ended and what it last said.

        `gone`: it has closed its output, and is given a moment to end by itself so that its status is its own.
        """
        if gone:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LAST_MOMENT_S)
        status = self._process.poll()
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()
        if self._mailbox is not None:
            self._mailbox.close()
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _STDERR_TAIL_BYTES))
        said = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        self._stderr.close()
        if status is None:
            return "was stopped"
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{how}, saying {said[-1]!r}" if said else how
