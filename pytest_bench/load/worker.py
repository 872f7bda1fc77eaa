"""A load worker: a separate small process that issues requests and records their results.

The supervisor runs it as `python -m pytest_bench.load.worker` and exchanges messages with it over standard input and
output, one JSON object per line. If its input ends, the supervisor has died, and the worker exits at once.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

import msgspec

from pytest_bench.child import die_with_parent
from pytest_bench.load.driver import LoadWorker
from pytest_bench.load.loop import Loop
from pytest_bench.load.messages import Command, Notice, WorkerSetup
from pytest_bench.load.receive_clock import ReceiveClock
from pytest_bench.redaction import hide


def main() -> None:
    """Entry point of the process."""
    die_with_parent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the supervisor receives them, too, and decides
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Read up to the first newline only; the loop reads the rest.
    line = bytearray()
    while (byte := os.read(0, 1)) not in {b"\n", b""}:
        line += byte
    setup = msgspec.json.decode(line, type=WorkerSetup)
    hide(setup.run.secrets)
    if setup.run.cpus:
        os.sched_setaffinity(0, setup.run.cpus)
    _work(setup)


def _work(setup: WorkerSetup) -> None:
    loop = Loop(ReceiveClock())
    worker = LoadWorker(setup, loop, _notify)
    unread = bytearray()
    decode = msgspec.json.Decoder(Command).decode

    def read_commands() -> None:
        received = os.read(0, 65_536)
        if not received:
            os._exit(3)  # the supervisor has died
        unread.extend(received)
        while (end := unread.find(b"\n")) >= 0:
            line = bytes(unread[:end])
            del unread[: end + 1]
            worker.execute(decode(line))

    loop.on_readable(0, read_commands)
    worker.run()


def _notify(notice: Notice) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(notice) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
