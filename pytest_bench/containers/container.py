"""A running container: its state, its log, and what runs in it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import docker
import docker.errors

from pytest_bench.containers import commands, diagnostics, verification
from pytest_bench.containers.artifacts import Artifact, copy_out
from pytest_bench.containers.engine import ContainerError, api_errors
from pytest_bench.containers.environment import Environment
from pytest_bench.containers.evidence import LogProof, Verified
from pytest_bench.containers.log import MARK, Follower
from pytest_bench.containers.processes import Probe, Serving
from pytest_bench.containers.request import SETUP, SETUP_FAILED
from pytest_bench.suite.container_plan import ContainerPlan
from pytest_bench.wording import printable

LOG = "container.log"

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5
_MISSING_PROGRAM = frozenset({126, 127})

# Only into pipes: no mark is written into a server's own file.
_WRITE_MARK = """\
for number in 1 2; do
  if [ -p "/proc/1/fd/$number" ]; then { echo "$0" >"/proc/1/fd/$number"; } 2>/dev/null && echo written; fi
done
"""

_T = TypeVar("_T")


class ContainerEnded(ContainerError):
    """A container that should run has ended."""


class Container:
    """A container that was started for a deployment."""

    def __init__(
        self,
        client: docker.DockerClient,
        container: docker.models.containers.Container,
        plan: ContainerPlan,
        folder: Path,
    ) -> None:
        self.url = ""
        """Where the server is reached."""
        self.plan = plan
        self.proof = LogProof()
        """What was proven about its log."""
        self.seen: dict[str, str] = {}
        """sha256 of each artifact when the latest point ended, by path."""
        self.log = Follower(container, folder / LOG)
        self._client = client
        self._container = container
        self._folder = folder
        self._diagnosed = False

    @property
    def name(self) -> str:
        """The container's name, with its role if the deployment has several containers."""
        name = str(self._container.name)
        return f"{name} (role {self.plan.role})" if self.plan.role else name

    @property
    def attributes(self) -> dict[str, Any]:
        """The engine's latest answer to `inspect`."""
        return dict(self._container.attrs)

    @property
    def published(self) -> dict[str, str]:
        """Where each port of the container, such as `8000/tcp`, is published on the host: address and port."""
        ports = self.attributes["NetworkSettings"].get("Ports") or {}
        return {
            name: f"{places[0]['HostIp']}:{places[0]['HostPort']}" for name, places in ports.items() if places
        }

    def state(self) -> dict[str, Any]:
        """The engine's `State` of the container, now. Raises `ContainerError` if it is gone."""
        with api_errors(f"the container {self.name}"):
            self._container.reload()
        return dict(self._container.attrs["State"])

    def how_it_ended(self) -> str | None:
        """Its exit status, and why it ended; None while the container runs."""
        state = self.state()
        return None if state.get("Running") else _how_it_ended(state)

    def require_running(self) -> None:
        """Raises `ContainerEnded` with exit status and the end of the log if the container has ended."""
        if ended := self.how_it_ended():
            self.log.close()
            raise ContainerEnded(f"the container {self.name} {ended}.{self.story()}")

    def refuse(self, what: str) -> NoReturn:
        """Raise `ContainerError`: `what`, then where diagnostics are, then the end of the log."""
        raise ContainerError(f"the container {self.name} {what}.{self.story()}")

    def copy_artifacts(self, folder: Path, problems: list[str]) -> list[Artifact]:
        """Copy the declared artifacts into `folder`, as they are now. What cannot be copied is said in `problems`."""
        return list(copy_out(self._container, self.plan.artifacts, folder, problems))

    def diagnose(self) -> None:
        """Collect diagnostics, once."""
        if not self._diagnosed:
            self._diagnosed = True
            files = (*self.plan.diagnostics, *self.plan.artifacts)
            diagnostics.collect(self._client, self._container, files, self._folder)

    def story(self) -> str:
        """Collect diagnostics, once, and return where they are and the end of the log."""
        self.diagnose()
        tail = printable(self.log.tail(), keep="\n\t") or "(it is empty)"
        return f" Diagnostics: {self._folder / diagnostics.NAME}. End of its log {self.log.path}:\n{tail}"

    def run(self, words: Sequence[str], user: str) -> tuple[int, bytes]:
        """Run a program in the container as `user`, and return its exit status and its standard output.

        Raises `ContainerError` if the container has ended or has no such program.
        """
        try:
            status, output = commands.run(self._client, str(self._container.id), words, user=user)
        except docker.errors.APIError as error:
            self.require_running()
            raise ContainerError(
                f"{words[0]!r}, with which the container {self.name} is verified, could not be run in it: "
                f"{error.explanation or error}"
            ) from error
        if status in _MISSING_PROGRAM:
            self.require_running()
            raise ContainerError(
                f"the image has no usable program {words[0]!r}, with which the container is verified: "
                f"{output.decode(errors='replace').strip()}"
            )
        return status or 0, output

    def settle_log(self) -> int:
        """Wait until everything that the server has logged so far is read, and return the size of the log in bytes.

        A mark is written into the pipes that carry the log, and waited for. Raises `ContainerEnded` if a critical
        container has ended.
        """
        mark = f"{MARK}{secrets.token_hex(8)}"
        try:
            _, output = self.run(("sh", "-c", _WRITE_MARK, mark), str(self.plan.user or ""))
        except ContainerEnded:
            if self.plan.critical:
                raise
            self.log.close()
            return self.log.size_bytes
        return self.log.await_marks(mark, output.count(b"written"))

    def await_serving(
        self,
        environment: Environment,
        deadline: float,
        on_wait: Callable[[str], None],
        require_running: Callable[[], None],
    ) -> tuple[Verified, ...]:
        """Wait until the server listens, verify that it has what was asked for, and wait for what else is declared.

        Of a container without a port, process 1 is verified once the rest is true. `on_wait` is called with what is
        waited for, and `require_running` again and again: it raises if a container that is needed has ended. Raises
        `ContainerError`: at once if the container differs, and at `deadline` (`time.monotonic`).
        """
        probe, port, readiness = Probe(self.run), self.plan.port, self.plan.readiness

        def await_(condition: Callable[[], _T | None], what: str) -> _T:
            return self._await(condition, what, deadline, on_wait, require_running)

        verified: tuple[Verified, ...] = ()
        if port is not None:
            serving = await_(lambda: probe.serving(port), f"none of its processes listens on port {port}")
            verified = self._verified(serving, environment)
        if readiness.log_pattern is not None:
            pattern = re.compile(readiness.log_pattern)
            await_(lambda: self.log.matches(pattern), f"no line of its log matches {readiness.log_pattern!r}")
        if readiness.healthcheck:
            await_(self._is_healthy, "its health check has not succeeded")
        if port is None:
            first = await_(lambda: _begun(probe.first()), "its setup has not ended")
            verified = self._verified([first], environment)
        return verified

    def _await(
        self,
        condition: Callable[[], _T | None],
        what: str,
        deadline: float,
        on_wait: Callable[[str], None],
        require_running: Callable[[], None],
    ) -> _T:
        pause_s = _FIRST_PAUSE_S
        while True:
            require_running()
            self.require_running()
            if result := condition():
                return result
            on_wait(what)
            if (left_s := deadline - time.monotonic()) <= 0:
                self.refuse(f"did not get ready in time: {what}")
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _is_healthy(self) -> bool:
        health = self.state().get("Health")
        if health is None:
            self.refuse(f"has no health check, which {self.plan.place}.readiness.healthcheck waits for")
        return bool(health["Status"] == "healthy")

    def _verified(self, serving: Sequence[Serving], environment: Environment) -> tuple[Verified, ...]:
        differences: list[str] = []
        verified = []
        for each in serving:
            source = each.source
            if source is None:
                differences.append(
                    f"the environment of process {each.pid} cannot be verified: it and its parents have overwritten "
                    "theirs, or do not let it be read"
                )
                continue
            where = f"the environment of process {source.pid}"
            if source.pid != each.pid:
                where += f", which started process {each.pid}"
            entries = source.environ.removesuffix(b"\0").split(b"\0")
            differences += verification.environment_differences(environment.values, entries, where)
            differences += verification.argument_differences(self.plan.arguments, source)
            verified.append(
                Verified(listener=each.pid, source=source.pid, command_line=tuple(source.arguments))
            )
        self.require_no(differences)
        return tuple(verified)

    def require_no(self, differences: Sequence[str]) -> None:
        """Raises `ContainerError` that lists `differences`, if there are any."""
        if differences:
            lines = "".join(f"\n  {printable(sentence)}" for sentence in differences)
            self.refuse(f"is not as the suite declares it ({self.plan.place}):{lines}\n")


def config_differences(
    config: Mapping[str, Any],
    asked: Mapping[str, Any],
    environment: Environment,
    image: Mapping[str, Any],
    added: Collection[str] = (),
) -> list[str]:
    """Differences between a container's configuration and what the engine was asked for.

    `added`: names of variables that the engine gives every container.
    """
    entries: list[str] = list(config.get("Env") or ())
    found = [entry.encode("utf-8", "surrogateescape") for entry in entries]
    where = "the container's configuration"
    differences = list(verification.environment_differences(environment.values, found, where))
    differences += [
        f"{name} is in {where}, but neither the suite nor the image has it"
        for name in verification.additional(environment.values, image.get("Env") or (), entries)
        if name not in added
    ]
    for name, key in (("entrypoint", "Entrypoint"), ("command", "Cmd")):
        if list(config.get(key) or ()) != asked[name]:
            differences.append(f"{name} is {config.get(key)} in {where}; asked for {asked[name]}")
    return differences


def _begun(first: Serving) -> Serving | None:
    """`first`, unless it is still the container runtime, or runs the setup."""
    arguments = [] if first.source is None else first.source.arguments
    return None if SETUP in arguments or arguments[1:] == ["init"] else first


def _how_it_ended(state: Mapping[str, Any]) -> str:
    status = state.get("ExitCode")
    words = f"ended with exit status {status}"
    if state.get("OOMKilled"):
        words += ", killed because it was out of memory"
    if status == SETUP_FAILED:
        words += " (a setup command failed, or the engine could not start the command)"
    if state.get("Error"):
        words += f" ({printable(str(state['Error']))})"
    return words
