"""A pool worker: a process that loads tokenizers and counts what the pool sends. Started by the pool.

The main thread receives tasks from standard input and does nothing else, so that the end of the parent (end of file)
ends the process at once, whatever the other threads do. Answers go to standard output. A second thread runs the event
loop that carries tasks out, and a third one is inside the libraries (`Work`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Never

from pytest_bench.errors import BenchError
from pytest_bench.tokens.messages import TASKS, Answer, Channel, Failed, Load, Task
from pytest_bench.tokens.proof import Prepared, prepare
from pytest_bench.tokens.work import Work

_SWITCH_S = 0.0001


def serve(channel: Channel[Answer, Task], work: Work) -> Never:
    """Answer tasks until the other end of `channel` is closed; then end the process."""
    loop = asyncio.new_event_loop()

    async def answer(job: int, task: Task) -> None:
        try:
            found = await work.answer(task)
        except BenchError as error:
            found = Failed(str(error))
        except BaseException as error:  # noqa: BLE001 # a panic of native code derives from it
            found = Failed(f"{type(error).__name__}: {error}")
        try:
            channel.send(job, found)
        except OSError:
            os._exit(0)  # the parent is gone

    # A thread that returns from the library should soon get the interpreter.
    sys.setswitchinterval(_SWITCH_S)
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            asyncio.run_coroutine_threadsafe(answer(*channel.receive()), loop)
    os._exit(0)  # a library may keep its thread for a while, and its counts are not needed


def take_place(cpus: str, *, idle: bool) -> str | None:
    """Pin this process to `cpus` (a comma-separated list; empty: do not), at the lowest priority if `idle`.

    Returns why it could not be pinned, if so.
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
    parser.add_argument("--memory", type=int)
    arguments = parser.parse_args()
    note = take_place(arguments.cpus, idle=arguments.idle)
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is not an answer
    channel: Channel[Answer, Task] = Channel(sys.stdin.fileno(), answers, TASKS, memory=arguments.memory)
    serve(channel, Work(prepare_tokenizer, note))


if __name__ == "__main__":
    main()
