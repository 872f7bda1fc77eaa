"""A load worker: a small process of its own that issues requests and writes down what became of them.

Run as `python -m pytest_bench.load.worker` by the supervisor, which talks to it over its standard input and
output, one JSON object a line. When its input ends, its parent is gone: it then abandons everything.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

import msgspec

from pytest_bench.load.driver import LoadWorker
from pytest_bench.load.legs import Notice, Order, WorkerSetup
from pytest_bench.load.loop import Loop
from pytest_bench.load.receive_clock import ReceiveClock
from pytest_bench.redaction import hide

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Entry point of the process."""
    if sys.platform == "linux":
        # The end of input tells a worker that its parent is gone; this tells one that hangs or was stopped.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they reach the supervisor, too, which decides
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Read up to the first newline only: what follows belongs to the loop.
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
    worker = LoadWorker(setup, loop, _tell)
    unread = bytearray()
    decode = msgspec.json.Decoder(Order).decode

    def read_orders() -> None:
        received = os.read(0, 65_536)
        if not received:
            os._exit(3)  # the supervisor is gone: nobody is left to report to
        unread.extend(received)
        while (end := unread.find(b"\n")) >= 0:
            line = bytes(unread[:end])
            del unread[: end + 1]
            worker.obey(decode(line))

    loop.on_readable(0, read_orders)
    worker.run()


def _tell(notice: Notice) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(notice) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
