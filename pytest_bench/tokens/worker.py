"""A pool worker: a process that loads tokenizers and counts what the pool sends. Started by the pool.

Two lanes take tasks: while one is inside the library, which lets go of the interpreter and takes every core
of the block, the other decodes the next range. The main thread reads tasks only, so that the end of the
parent (end of file) ends the process at once, whatever the lanes are doing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Never

from pytest_bench.errors import BenchError
from pytest_bench.tokens.mailbox import open_mailbox
from pytest_bench.tokens.proof import Prepared, prepare
from pytest_bench.tokens.ranges import TextCounter, count_each, count_range, recount_lines, recount_texts
from pytest_bench.tokens.wire import (
    Answer,
    CountRange,
    Counts,
    CountTexts,
    Decode,
    Encode,
    Failed,
    Ids,
    Load,
    Loaded,
    RecountLines,
    RecountTexts,
    Task,
    TaskReader,
    Text,
    frame_answer,
)  # fmt: skip

LANES = 2
_SWITCH_S = 0.0005


Work = CountTexts | CountRange | RecountLines | RecountTexts | Encode | Decode


class Bench:
    """The tokenizers of one worker, and what can be asked of them."""

    def __init__(self, prepare_tokenizer: Callable[[Load], Prepared], note: str | None) -> None:
        self._prepare = prepare_tokenizer
        self._note = note
        self._prepared: dict[str, Prepared] = {}
        self._counters: dict[str, TextCounter] = {}

    def answer(self, task: Task) -> Answer:
        """Carry out one task. Whatever goes wrong is the answer: the worker lives on."""
        try:
            return self._load(task) if isinstance(task, Load) else self._work(task, self._prepared[task.key])
        except BenchError as error:
            return Failed(str(error))
        except BaseException as error:  # noqa: BLE001 - a panic of native code derives from BaseException
            return Failed(f"{type(error).__name__}: {error}")

    def _load(self, task: Load) -> Loaded:
        prepared = self._prepare(task)
        self._prepared[task.key] = prepared
        self._counters[task.key] = TextCounter(prepared.backend)
        return Loaded(
            key=task.key,
            backend=prepared.backend.name,
            reason=prepared.reason,
            probes=prepared.probes,
            vocabulary=prepared.authority.vocabulary,
            note=self._note,
        )

    def _work(self, task: Work, prepared: Prepared) -> Answer:
        match task:
            case CountRange():
                return count_range(task, self._counters[task.key])
            case CountTexts():
                failures: list[str] = []
                return Counts(counts=count_each(prepared.backend, task.texts, failures), failures=failures)
            case RecountLines():
                return recount_lines(task, prepared)
            case RecountTexts():
                return recount_texts(task, prepared)
            case Encode():
                return Ids(ids=prepared.backend.encode(task.texts))
            case Decode():
                return Text(text=prepared.authority.decode(task.ids))


def serve(
    tasks: TaskReader, answers: int, *, prepare_tokenizer: Callable[[Load], Prepared], note: str | None
) -> Never:
    """Answer `tasks` on file descriptor `answers` until there are no more; then end the process."""
    bench = Bench(prepare_tokenizer, note)
    waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
    writing = threading.Lock()

    def work() -> None:
        while True:
            job, task = waiting.get()
            message = frame_answer(job, bench.answer(task))
            with writing:
                _write_all(answers, message)

    # A lane that comes out of the library should not wait long for one that decodes.
    sys.setswitchinterval(_SWITCH_S)
    for number in range(LANES):
        threading.Thread(target=work, name=f"lane {number}", daemon=True).start()
    for item in tasks:
        waiting.put(item)
    os._exit(0)  # the lanes may be inside the library for a while; nobody waits for what they count


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BrokenPipeError:
        os._exit(0)  # the parent has gone


def take_place(cpus: str, *, idle: bool) -> str | None:
    """Pin this process to `cpus` (a comma-separated list; empty: leave it), and give way to others if `idle`.

    Returns why it runs unpinned, where it does although it was asked not to.
    """
    if idle:
        os.nice(19)
        if hasattr(os, "SCHED_IDLE"):
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if not cpus:
        return None
    try:
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    except (OSError, AttributeError) as error:
        return f"runs unpinned: CPUs {cpus} were refused ({error})"
    return None


def main(prepare_tokenizer: Callable[[Load], Prepared] = prepare) -> Never:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="pytest_bench.tokens.worker")
    parser.add_argument("--cpus", default="")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--mailbox", type=int)
    arguments = parser.parse_args()
    # Answers leave through a descriptor of their own: what a library prints must not get between frames.
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    mailbox = None if arguments.mailbox is None else open_mailbox(arguments.mailbox)
    serve(
        TaskReader(sys.stdin.fileno(), mailbox),
        answers,
        prepare_tokenizer=prepare_tokenizer,
        note=take_place(arguments.cpus, idle=arguments.idle),
    )


if __name__ == "__main__":
    main()
