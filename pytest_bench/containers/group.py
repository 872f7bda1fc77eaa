"""The running containers of one deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol

from pytest_bench.containers.artifacts import Artifact
from pytest_bench.containers.evidence import LogProof
from pytest_bench.containers.log import LogReader
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.wording import printable


class Member(Protocol):
    """A container of a deployment, on this host (`container.Container`) or on another node."""

    url: str
    """Where the server is reached; empty if it listens on no port."""
    plan: ContainerPlan
    proof: LogProof
    """What was shown about its log."""
    seen: dict[str, str]
    """sha256 of each artifact when the latest point ended, by path."""

    @property
    def name(self) -> str:
        """The container's name, with its role if the deployment has several containers."""

    @property
    def log(self) -> LogReader:
        """Its log, as far as it has been read."""

    def how_it_ended(self) -> str | None:
        """With which exit status, and why; None while the container runs."""

    def require_running(self) -> None:
        """Raises `ContainerError` with exit status and the end of the log if the container has ended."""

    def refuse(self, what: str) -> NoReturn:
        """Raise `ContainerError`: `what`, then where diagnostics are, then the end of the log."""

    def settle_log(self) -> int:
        """Wait until everything that the server has logged so far is read; returns the size of the log in bytes."""

    def copy_artifacts(self, folder: Path, problems: list[str]) -> list[Artifact]:
        """Copy the declared artifacts into `folder`, as they are now. What cannot be copied is said in `problems`."""

    def story(self) -> str:
        """Collect diagnostics, once, and return where they are and the end of the log."""


class Containers(Mapping[str, Member]):
    """The containers of a deployment by role, in the order in which they are declared; the only one under ''."""

    def __init__(self, members: Sequence[Member], require: Callable[[], None] = lambda: None) -> None:
        """`require` raises `ContainerError` if what runs the containers has ended."""
        self._members = {each.plan.role: each for each in members}
        self._require = require

    def __getitem__(self, role: str) -> Member:
        return self._members[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def serving(self) -> Member:
        """The one that has the endpoint."""
        return next(each for each in self._members.values() if each.plan.serves)

    def require_running(self) -> None:
        """Raises `ContainerError`, which names the role, if a critical container has ended."""
        self._require()
        for each in self._members.values():
            if each.plan.critical:
                each.require_running()

    def ended(self) -> dict[str, str]:
        """How each container that is not critical ended, by role, if it has."""
        found = {role: each.how_it_ended() for role, each in self._members.items() if not each.plan.critical}
        return {role: ending for role, ending in found.items() if ending is not None}

    def story(self) -> str:
        """Collect diagnostics of every container, once, and return where they are and the ends of the logs."""
        if len(self) == 1:
            return self.serving.story()
        return "".join(f"\n{printable(each.name)}:{each.story()}" for each in self._members.values())
