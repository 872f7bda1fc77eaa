"""`python -m pytest_bench.evals.node_task`: runs a command on one node, and writes into the node's folder how it ended
and which tables it left.

Standard input: one line of JSON, `NodeOrder`; its end means that the node is to end, as SIGTERM does. Nothing is
written to standard output, which `srun` uses as well.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pytest_bench.errors import BenchError
from pytest_bench.evals.harness import inherited, run_harness
from pytest_bench.evals.node_files import OUTPUT, STATUS, StatusFile
from pytest_bench.evals.node_tables import TableFinder
from pytest_bench.files import write_json

_STOPPED, _NOT_STARTED = 143, 127
"""Exit statuses for a command that was ended from outside, and for one that could not be run, as in shells."""


class NodeOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What one node does."""

    nonce: str
    rank: int
    job: str
    is_alone: bool
    """Whether there is no other node."""
    command: tuple[str, ...]
    environment: dict[str, str]
    """The declared variables; the node adds those that every command inherits."""
    working_folder: str
    folder: str
    """Of the node, for its files."""
    time_limit_s: float
    paths: tuple[str, ...]
    """Patterns of tables, which may hold `{user}`, the user on the node."""
    wait_s: float


class _Stopped(BaseException):
    """The node was ended from outside."""


class _Status:
    """The status file, written again at each change."""

    def __init__(self, order: NodeOrder) -> None:
        self._path = Path(order.folder) / STATUS
        self._file = StatusFile(
            nonce=order.nonce,
            rank=order.rank,
            host=os.environ.get("SLURMD_NODENAME") or platform.node(),
            phase="preparing",
            started_ns=time.time_ns(),
        )

    def write(self, **changes: object) -> None:
        self._file = msgspec.structs.replace(self._file, **changes)
        write_json(self._path, self._file)


def run(order: NodeOrder) -> None:
    """Run the command to its end, then look for tables. Whatever happens, the last thing written is how it ended."""
    status = _Status(order)
    found: dict[str, object] = {}
    try:
        with _stoppable():
            found = _run(order, status)
    except _Stopped:
        found = {"exit_status": _STOPPED, "stopped": True}
    except (BenchError, OSError) as error:
        found = {"exit_status": _NOT_STARTED, "problem": str(error)}
    status.write(ended_ns=time.time_ns(), **found)


def _run(order: NodeOrder, status: _Status) -> dict[str, object]:
    folder, working_folder = Path(order.folder), Path(order.working_folder)
    status.write()
    (folder / OUTPUT).mkdir()
    finder = TableFinder(
        order.paths, job=order.job, working_folder=working_folder, folder=folder, is_alone=order.is_alone
    )
    status.write(phase="running the command")
    end = run_harness(
        order.command,
        {**inherited(os.environ), **order.environment},
        working_folder=working_folder,
        logs=folder,
        time_limit_s=order.time_limit_s,
    )
    problem = f"it was ended at its time limit, {order.time_limit_s:g} s" if end.overdue else ""
    if end.status == 0:
        status.write(phase="looking for tables")
    tables = finder.wait(order.wait_s if end.status == 0 else 0.0)
    return {"exit_status": end.status, "problem": problem, "tables": tables}


@contextmanager
def _stoppable() -> Iterator[None]:
    """Raise `_Stopped` in the body at SIGTERM, and at the end of standard input."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the first one ends everything
        raise _Stopped

    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=_watch_input, daemon=True).start()
    yield
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _watch_input() -> None:
    # Not by `sys.stdin`, whose lock a daemon thread would hold at the end of the interpreter.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    run(msgspec.json.decode(sys.stdin.buffer.readline(), type=NodeOrder))


if __name__ == "__main__":
    main()
