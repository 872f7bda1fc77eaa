"""What is known about a container that failed: `diagnostics.json`.

Each probe has limits of its own for time and bytes, and a probe that fails says why: no probe hides the
original error.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from pytest_bench.containers import commands
from pytest_bench.containers.artifacts import by_folder, matching_files
from pytest_bench.files import write_json
from pytest_bench.redaction import redact_foreign

NAME = "diagnostics.json"

_PROBE_TIMEOUT_S = 10.0
_LARGEST = 64 << 10
_LARGEST_END = 16 << 10
_MOST_FILES = 50
_COMMANDS = {
    "processes": (
        "sh",
        "-c",
        "for p in /proc/[0-9]*; do echo \"${p#/proc/} $(tr '\\0' ' ' < $p/cmdline)\"; done",
    ),
    "sockets": ("cat", "/proc/net/tcp", "/proc/net/tcp6"),
    "memory": ("cat", "/proc/meminfo"),
    "disk": ("df", "-P"),
}
"""Programs that are run in a container that still runs."""


def collect(
    client: docker.DockerClient,
    container: docker.models.containers.Container,
    files: Sequence[str],
    folder: Path,
) -> None:
    """Write what is known about the container to `diagnostics.json` in `folder`.

    `files`: patterns of files in the container of which the ends are kept.
    """
    probes: dict[str, Callable[[], Any]] = {"state": partial(_state, container)}
    for name, words in _COMMANDS.items():
        probes[name] = partial(_output, client, container, words)
    for where, names in by_folder(files).items():
        probes[f"files of {where}"] = partial(_ends, container, where, names)
    write_json(folder / NAME, {name: _within(probe) for name, probe in probes.items()})


def _within(probe: Callable[[], Any]) -> Any:
    """The result of a probe, or why it has none. A probe that hangs is abandoned: nothing waits for its thread."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put(probe())
        except (docker.errors.DockerException, requests.RequestException, OSError, LookupError) as error:
            answer.put({"failed": str(error)[:_LARGEST]})

    threading.Thread(target=run, daemon=True).start()
    try:
        return answer.get(timeout=_PROBE_TIMEOUT_S)
    except queue.Empty:
        return {"failed": f"no answer within {_PROBE_TIMEOUT_S:g} s"}


def _ends(
    container: docker.models.containers.Container, folder: str, names: Sequence[str]
) -> dict[str, list[str]]:
    """The ends of the files that match, which may be long, and what could not be read."""
    problems: list[str] = []
    found: dict[str, list[str]] = {}
    for path, _, stream in matching_files(container, folder, names, problems):
        if len(found) == _MOST_FILES:
            problems.append(
                f"{path} and what follows: left out, because there are more than {_MOST_FILES} files"
            )
            break
        end = b""
        while data := stream.read(_LARGEST):
            end = (end + data)[-_LARGEST_END:]
        found[path] = redact_foreign(end.decode("utf-8", "replace")).splitlines()
    return {**found, "problems": problems} if problems else found


def _state(container: docker.models.containers.Container) -> dict[str, Any]:
    container.reload()
    attributes = container.attrs
    return {
        "state": attributes["State"],
        "restarts": attributes.get("RestartCount"),
        "networks": attributes["NetworkSettings"].get("Networks"),
        "ports": attributes["NetworkSettings"].get("Ports"),
    }


def _output(
    client: docker.DockerClient, container: docker.models.containers.Container, words: tuple[str, ...]
) -> list[str]:
    status, data = commands.run(client, container.id, words, largest=_LARGEST)
    lines = redact_foreign(data.decode("utf-8", "replace")).splitlines()
    return lines if status == 0 else [*lines, "[cut off]" if status is None else f"[exit status {status}]"]
