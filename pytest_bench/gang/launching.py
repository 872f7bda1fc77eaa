"""Starts the agents of a gang as one Slurm step, and ends them whatever happens."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from msgspec import UNSET

from pytest_bench.child import Child, python
from pytest_bench.cluster.allocation import Allocation, read_allocation, require_nodes
from pytest_bench.cluster.place import SECRET
from pytest_bench.cluster.proof import SECRET_BYTES
from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.evidence import LogProof
from pytest_bench.containers.group import Containers
from pytest_bench.containers.serving import new_owner
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.gang import messages
from pytest_bench.gang.members import RemoteContainer
from pytest_bench.gang.status import RankStatus, failures, read_statuses
from pytest_bench.redaction import hide
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.suite.plan import DeploymentPlan, NodesPlan
from pytest_bench.wording import printable

MODULE = "pytest_bench.gang.agent"
WATCHDOG = "pytest_bench.containers.watchdog"
STEP_LOG = "step.log"
"""What srun and the agents write to standard error."""

_START_S = 120.0
"""How long the step may take to start an agent on every node."""
_STOP_S = 60.0
"""How long an agent may take to remove its containers, beside the time that they have to stop."""
_VISIBLE_S = 5.0
"""How long a status file may take to appear on a shared file system."""
_RETRY_S = 0.2


@contextmanager
def gang(
    plan: DeploymentPlan,
    *,
    nonce: str,
    folder: Path,
    environ: Mapping[str, str],
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Containers]:
    """Start the containers of a deployment on several nodes, and yield them when those of all nodes are verified.

    They are removed at the end. `folder`, which must exist and be shared with the nodes, receives a folder for each
    rank. Raises `UsageError` outside of an allocation with enough nodes, and `ContainerError`, which shows the root
    cause first, for everything else.
    """
    if plan.nodes is UNSET:
        raise UsageError(f"{plan.origin}: the deployment has no `nodes`")
    allocation = read_allocation(environ)
    require_nodes(plan.origin, plan.nodes.count, allocation)
    agents = _Agents(plan, plan.nodes, allocation, nonce, folder, on_wait)
    try:
        try:
            containers = agents.await_serving()
            yield containers
        except ContainerError:
            agents.require_running()  # a failed rank explains more than what it does to the others
            raise
        except BenchError as error:
            agents.require_running()
            raise ContainerError(f"{error}{containers.story()}") from error
    except BaseException:  # also an interrupt must not leave containers
        agents.stop()
        raise
    agents.stop()
    agents.require_ended()


class _Agents:
    """The agents of a gang, which run on the nodes."""

    def __init__(
        self,
        plan: DeploymentPlan,
        nodes: NodesPlan,
        allocation: Allocation,
        nonce: str,
        folder: Path,
        on_wait: Callable[[str], None],
    ) -> None:
        self._plan, self._nodes, self._nonce, self._folder = plan, nodes, nonce, folder
        self._allocation, self._names = allocation, allocation.nodes[: nodes.count]
        self._owner = new_owner(nonce)
        self._on_wait = on_wait
        self._changed = threading.Condition()
        """Guards what the reading thread notes."""
        self._listens = False
        self._serving: dict[int, messages.Serving] = {}
        self._answers: dict[int, messages.Answer] = {}
        self._broken = ""
        """Why the output of the step cannot be read."""
        self._is_over = False
        """A rank is ending, or the step's output has ended."""
        self._is_stopped = False
        self._explanation: str | None = None
        self._numbers = itertools.count()
        self._stop_s = _STOP_S + max(each.stop_timeout_s for each in plan.containers)
        token, secret = secrets.token_hex(8), secrets.token_bytes(SECRET_BYTES).hex()
        hide([secret])
        self._assembler = messages.Assembler(token)
        self._child = Child(
            allocation.joint_step(nodes.count, self._stop_s, python(MODULE)),
            environment={SECRET: secret},
            errors=folder / STEP_LOG,
        )
        self._child.send(
            messages.line(
                messages.Request(
                    token=token,
                    nonce=nonce,
                    suite=plan.suite,
                    owner=self._owner,
                    folder=str(folder),
                    nodes=nodes,
                    containers=plan.containers,
                    ready_timeout_s=plan.ready_timeout_s,
                )
            )
        )
        self._thread = threading.Thread(target=self._read, name="agents of the gang", daemon=True)
        self._thread.start()

    def await_serving(self) -> Containers:
        """Wait until the containers of all ranks are verified."""
        limits, plans = self._nodes, self._plan.containers
        # The agents enforce each of these, and say who is late.
        self._await(lambda: self._listens, _START_S + limits.join_timeout_s, "rank 0 does not listen")
        images = {plan.image for plan in plans}
        longest_s = limits.join_timeout_s + len(images) * (limits.build_timeout_s + limits.load_timeout_s)
        longest_s += 2 * self._plan.ready_timeout_s + self._stop_s
        self._await(lambda: len(self._serving) == limits.count, longest_s, "its containers are not ready")
        members = []
        for plan in plans:
            name, url = self._serving[plan.rank].containers[plan.role]
            members.append(RemoteContainer(self, plan, self._folder, name, url))
        return Containers(members, self.require_running)

    def ask(
        self,
        plan: ContainerPlan,
        operation: messages.Operation,
        timeout_s: float,
        *,
        folder: str = "",
        proof: LogProof | None = None,
    ) -> messages.Answer:
        """Raises `ContainerError` if the agent answers with an error or not at all."""
        number = next(self._numbers)
        question = messages.Question(
            number=number, rank=plan.rank, role=plan.role, operation=operation, folder=folder, proof=proof
        )
        self._child.send(messages.line(question))
        self._await(
            lambda: number in self._answers, timeout_s, f"rank {plan.rank} does not answer {operation}"
        )
        answer = self._answers.pop(number)
        if answer.error is not None:
            raise ContainerError(answer.error)
        return answer

    def require_running(self) -> None:
        """Raises `ContainerError` if a rank has ended: which, and why, the root cause first."""
        with self._changed:
            runs = not self._is_over and not self._broken
        if not runs:
            raise ContainerError(self._explained())

    def require_ended(self) -> None:
        """Raises `ContainerError` unless every rank has reported that it ended as asked."""
        if found := self._failures():
            raise ContainerError(f"{self._place()} did not end as asked: {self._joined(found)}")

    def stop(self) -> None:
        """End the agents, which remove their containers, and wait for them. Is idempotent."""
        self._child.stop(self._stop_s)
        self._thread.join(_STOP_S)
        if not self._is_stopped:
            self._is_stopped = True
            self._remove_left_over()

    def _remove_left_over(self) -> None:
        """Remove the containers of agents that were killed. Slurm may have killed their watchdogs, too."""
        ended = {rank for rank, status in self._statuses.items() if status.state != "running"}
        nodes = [node for rank, node in enumerate(self._names) if rank not in ended]
        command = python(WATCHDOG, self._owner)
        children = [
            Child(self._allocation.step(node, command), errors=self._folder / STEP_LOG) for node in nodes
        ]
        for child in children:
            child.stdin.close()  # its session has ended
        for child in children:
            child.stop(self._stop_s)

    def _await(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            done = self._changed.wait_for(
                lambda: condition() or self._is_over or bool(self._broken), timeout_s
            )
            if condition():
                return
        if done:
            raise ContainerError(self._explained())
        raise ContainerError(f"{self._place()}: {what} after {timeout_s:g} s")

    def _explained(self) -> str:
        """Why the step has ended, or ends: the ranks end one another. Otherwise it is ended here."""
        if self._explanation is None:
            if not self._broken:
                self._child.wait(self._stop_s)
            self.stop()
            found = self._failures()
            if self._broken:
                found.insert(0, self._broken)
            self._explanation = (
                f"{self._place()} has failed: {self._joined(found or ['every rank has ended'])}"
            )
        return self._explanation

    def _failures(self) -> list[str]:
        return failures(self._nodes.count, self._statuses)

    @cached_property
    def _statuses(self) -> dict[int, RankStatus]:
        """What the ranks report in the end. Their last files may take a moment to be visible here."""
        deadline = time.monotonic() + _VISIBLE_S
        while True:
            statuses = read_statuses(self._folder, self._nodes.count, self._nonce)
            ended = [status for status in statuses.values() if status.state != "running"]
            if len(ended) == self._nodes.count or time.monotonic() > deadline:
                return statuses
            time.sleep(_RETRY_S)

    def _joined(self, found: list[str]) -> str:
        """The sentences, and what Slurm has to say if a rank has not reported."""
        ended = [status for status in self._statuses.values() if status.state != "running"]
        words = printable(" ".join(self._child.stderr_tail().split()))
        is_told = len(ended) < self._nodes.count and words
        return "\n".join([*found, *([f"The step said: {words}"] if is_told else [])])

    def _place(self) -> str:
        return f"the deployment on the nodes {', '.join(self._names)}"

    def _read(self) -> None:
        """Thread: note what the agents say, until the step ends."""
        try:
            for line in iter(self._child.stdout.readline, b""):
                if (message := self._assembler.feed(line)) is not None:
                    self._receive(message)
        except (messages.GangProtocolError, OSError, ValueError) as error:
            with self._changed:
                self._broken = str(error)
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _receive(self, message: messages.FromAgent) -> None:
        match message:
            case messages.Doing():
                self._on_wait(f"rank {message.rank} ({message.host}): {message.text}")
                return
            case messages.Listening():
                self._child.send(messages.line(messages.Meeting(address=message.address)))
        with self._changed:
            match message:
                case messages.Listening():
                    self._listens = True
                case messages.Serving():
                    self._serving[message.rank] = message
                case messages.Ending():
                    self._is_over = True
                case messages.Answer():
                    self._answers[message.number] = message
            self._changed.notify_all()
