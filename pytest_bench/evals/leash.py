"""`python -m pytest_bench.evals.leash`: runs a command whose processes end with it, even if our own process is killed.

Standard input: one line of JSON, `Order`; its end means that the command is to be ended. Standard output: one line of
JSON, `Ended`. The command has a process group of its own. Whatever is left of the group is ended when the command ends,
and when standard input ends, which it does at the death of the parent.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import BinaryIO

import msgspec

_LOOK_S = 0.05


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is run."""

    command: tuple[str, ...]
    environment: dict[str, str]
    """All variables of the command."""
    working_folder: str
    stdout: str
    stderr: str
    """Paths of the files that take its output."""
    grace_s: float
    """Time between SIGTERM and SIGKILL."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended."""

    status: int | None = None
    """Exit status of the command; negative: ended by that signal."""
    problem: str | None = None
    """Why it could not be started."""


def main() -> None:
    """Run what standard input says, and print how it ended."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    with open(order.stdout, "wb") as out, open(order.stderr, "wb") as errors:  # noqa: PTH123 # paths are text here
        ended = _run(order, out, errors)
    print(msgspec.json.encode(ended).decode(), flush=True)


def _run(order: Order, out: BinaryIO, errors: BinaryIO) -> Ended:
    try:
        process = subprocess.Popen(
            order.command,
            env=order.environment,
            cwd=order.working_folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            process_group=0,
        )
    except (OSError, ValueError) as error:
        return Ended(problem=str(error))
    try:
        while process.poll() is None and not select.select([sys.stdin.buffer], [], [], _LOOK_S)[0]:
            pass  # standard input is readable at its end only
    finally:
        _end_group(process, order.grace_s)
    return Ended(status=process.returncode)


def _end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End every process of the group: SIGTERM, and SIGKILL for those that are still there after a while."""
    try:
        if _signal(process.pid, signal.SIGTERM):
            until = time.monotonic() + grace_s
            while time.monotonic() < until and _signal(process.pid, 0):
                process.poll()
                time.sleep(0.01)
    finally:
        _signal(process.pid, signal.SIGKILL)
        process.wait()


def _signal(group: int, number: int) -> bool:
    """Send a signal to the group; returns whether there is any process in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()
