"""A pool worker: a process that loads tokenizers and counts what the pool sends. Started by the pool.

Three threads. The main one reads tasks and nothing else, so that the end of the parent (end of file) ends the
process at once, whatever the others are doing. One does Python's part of every task: decoding ranges, writing
answers. One is inside the libraries, which let go of the interpreter and take every core of the block: while
it counts one range, the next is decoded. Two threads inside a library only get into each other's way.
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
from functools import partial
from typing import Any, Never

from pytest_bench.errors import BenchError
from pytest_bench.tokens.mailbox import open_mailbox
from pytest_bench.tokens.proof import Prepared, prepare
from pytest_bench.tokens.ranges import Steps
from pytest_bench.tokens.tasks import Tasks
from pytest_bench.tokens.wire import Answer, Failed, Load, TaskReader, frame_answer

_SWITCH_S = 0.0001

Call = Callable[[], Any]
Job = tuple[int, Steps[Answer]]


def serve(
    reader: TaskReader, answers: int, *, prepare_tokenizer: Callable[[Load], Prepared], note: str | None
) -> Never:
    """Answer tasks on file descriptor `answers` until there are no more; then end the process."""
    tasks = Tasks(prepare_tokenizer, note)
    ready: queue.SimpleQueue[tuple[Job, Call]] = queue.SimpleQueue()
    calls: queue.SimpleQueue[tuple[Job, Call]] = queue.SimpleQueue()

    def do_python() -> None:
        while True:
            job, resume = ready.get()
            following = _advance(resume)
            if callable(following):
                calls.put((job, following))
            else:
                _write_all(answers, frame_answer(job[0], following))

    def do_library() -> None:
        while True:
            job, call = calls.get()
            ready.put((job, _resumption(job[1], call)))

    # The library's thread should not wait long for the interpreter when it comes back.
    sys.setswitchinterval(_SWITCH_S)
    for part in (do_python, do_library):
        threading.Thread(target=part, name=part.__name__, daemon=True).start()
    for number, task in reader:
        steps = tasks.steps(task)
        ready.put(((number, steps), steps.__next__))
    os._exit(0)  # a library may keep its thread for a while; nobody waits for what it counts


def _resumption(steps: Steps[Answer], call: Call) -> Call:
    """Make `call`, and return how to go on with what it returned or raised."""
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - a panic of native code derives from it
        return partial(steps.throw, error)
    return partial(steps.send, result)


def _advance(resume: Call) -> Call | Answer:
    """The next call that a task needs, or its answer. Whatever goes wrong is the answer: the worker lives on."""
    try:
        call: Call = resume()
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    except BenchError as error:
        return Failed(str(error))
    except BaseException as error:  # noqa: BLE001 - a panic of native code derives from it
        return Failed(f"{type(error).__name__}: {error}")
    return call


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
