"""The containers of a gang as the session sees them: each on another node, asked through its agent."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, Protocol

from pytest_bench.containers.artifacts import Artifact
from pytest_bench.containers.container import LOG
from pytest_bench.containers.engine import ContainerError
from pytest_bench.containers.evidence import LogProof
from pytest_bench.containers.log import LogReader
from pytest_bench.gang.messages import Answer, Operation
from pytest_bench.gang.status import folder_of
from pytest_bench.suite.container_plan import ContainerPlan

_TIMEOUT_S = 120.0
_COPY_TIMEOUT_S = 1800.0


class Agents(Protocol):
    """The agents of a gang."""

    def ask(
        self,
        plan: ContainerPlan,
        operation: Operation,
        timeout_s: float,
        *,
        folder: str = "",
        proof: LogProof | None = None,
    ) -> Answer:
        """Raises `ContainerError` if the agent answers with an error or not at all."""

    def require_running(self) -> None:
        """Raises `ContainerError` if a rank has ended."""


class RemoteContainer:
    """A container on another node (`containers.group.Member`)."""

    def __init__(self, agents: Agents, plan: ContainerPlan, folder: Path, name: str, url: str) -> None:
        """`folder` is that of the deployment."""
        self.url = url
        self.plan = plan
        self.name = name
        self.seen: dict[str, str] = {}
        self.log = LogReader(folder_of(folder, plan.rank) / plan.role / LOG)
        self._agents = agents
        self._proof = LogProof()

    @property
    def proof(self) -> LogProof:
        """What was shown about its log."""
        return self._proof

    @proof.setter
    def proof(self, proof: LogProof) -> None:
        self._ask("note_proof", proof=proof)
        self._proof = proof

    def how_it_ended(self) -> str | None:
        return self._ask("how_it_ended").text

    def require_running(self) -> None:
        """Raises `ContainerError` if a rank has ended: each watches its own containers."""
        self._agents.require_running()

    def refuse(self, what: str) -> NoReturn:
        raise ContainerError(f"the container {self.name} {what}.{self.story()}")

    def settle_log(self) -> int:
        return self._ask("settle_log").size_bytes

    def copy_artifacts(self, folder: Path, problems: list[str]) -> list[Artifact]:
        answer = self._agents.ask(self.plan, "copy_artifacts", _COPY_TIMEOUT_S, folder=str(folder))
        problems += answer.problems
        return list(answer.artifacts)

    def story(self) -> str:
        return self._ask("story").text or ""

    def _ask(self, operation: Operation, *, proof: LogProof | None = None) -> Answer:
        return self._agents.ask(self.plan, operation, _TIMEOUT_S, proof=proof)
