"""The running containers of one deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_bench.containers.container import Container
from pytest_bench.wording import printable


class Containers(Mapping[str, Container]):
    """The containers of a deployment by role, in the order in which they are declared; the only one under ''."""

    def __init__(self, members: Sequence[Container]) -> None:
        self._members = {each.plan.role: each for each in members}

    def __getitem__(self, role: str) -> Container:
        return self._members[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def serving(self) -> Container:
        """The one that has the endpoint."""
        return next(each for each in self._members.values() if each.plan.serves)

    def require_running(self) -> None:
        """Raises `ContainerError`, which names the role, if a critical container has ended."""
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
