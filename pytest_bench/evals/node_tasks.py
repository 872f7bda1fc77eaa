"""Starts one task on each node of a point, and waits until all have reported, or one fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from pytest_bench.child import Child, python
from pytest_bench.cluster import Allocation
from pytest_bench.evals.harness import GRACE_S
from pytest_bench.evals.node_files import read_status
from pytest_bench.evals.node_task import NodeOrder

MODULE = "pytest_bench.evals.node_task"
LOG = "task.log"
"""In the folder of a node: what the task itself, and the step that ran it, wrote to standard error."""

_LOOK_S = 0.1
_START_S = 120.0
"""How long a step and its interpreter may take to start, beside the time of the command."""
_STOP_S = 2 * GRACE_S


def run_tasks(orders: Sequence[NodeOrder], allocation: Allocation | None) -> None:
    """Run the orders, by rank on the nodes of `allocation`; without one, here.

    Returns when every task has ended. If one fails, or ends without a report, the others are ended. The tasks end with
    this process, however it ends, because their standard input does.
    """
    command = python(MODULE)
    with ExitStack() as started:
        tasks = []
        for order in orders:
            words = command if allocation is None else allocation.step(allocation.nodes[order.rank], command)
            child = Child(words, errors=Path(order.folder) / LOG)
            started.callback(child.stop, _STOP_S)
            child.send(msgspec.json.encode(order) + b"\n")
            tasks.append(_Task(order, child))
        started.callback(_end_all, tasks)
        while not all(task.reported for task in tasks):
            if any(task.failed for task in tasks):
                _end_all(tasks)
                break
            time.sleep(_LOOK_S)


def _end_all(tasks: Sequence[_Task]) -> None:
    """Close all inputs first, because each task takes a moment to end."""
    for task in tasks:
        task.child.stdin.close()


class _Task:
    """One node's task, as this process sees it."""

    def __init__(self, order: NodeOrder, child: Child) -> None:
        self.child = child
        self._order = order
        now = time.monotonic()
        self._overdue_at = now + order.time_limit_s + order.wait_s + _START_S
        self._silent_since: float | None = None
        self._succeeded: bool | None = None

    @property
    def reported(self) -> bool:
        """Whether the command and its status file have ended."""
        if self._succeeded is None:
            found = read_status(Path(self._order.folder), self._order.rank, self._order.nonce)
            ended = None if found is None else found.ended
            self._succeeded = None if ended is None else ended.exit_status == 0
        return self._succeeded is not None

    @property
    def failed(self) -> bool:
        """Whether it reported a failure, or will not report any more."""
        if self.reported:
            return not self._succeeded
        now = time.monotonic()
        if self.child.wait() is not None and self._silent_since is None:
            self._silent_since = now
        # The status file may be late where the file system is slow.
        is_silent = self._silent_since is not None and now - self._silent_since > self._order.wait_s
        return is_silent or now > self._overdue_at
