"""A load worker: a separate small process that issues requests and records their results.

The supervisor runs it as `python -m pytest_bench.load.worker` and exchanges messages with it over standard input and
output, one JSON object per line. If its input ends, the supervisor has died, and the worker exits at once.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

import msgspec

from pytest_bench.load.driver import LoadWorker
from pytest_bench.load.loop import Loop
from pytest_bench.load.messages import Command, Notice, WorkerSetup
from pytest_bench.load.receive_clock import ReceiveClock
from pytest_bench.redaction import hide

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Entry point of the process."""
    if sys.platform == "linux":
        # A worker that hangs or is stopped cannot notice the end of its input, so the kernel kills it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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
    if setup.run.left_cpus:
        os.sched_setaffinity(0, os.sched_getaffinity(0).difference(setup.run.left_cpus))
    sys.path[:] = setup.import_path
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
