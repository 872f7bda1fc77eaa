"""What is known about a container that failed: `diagnostics.json`.

Each probe has limits of its own for time and bytes, and a probe that fails says why: nothing here hides the error that
was the reason to look.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from functools import partial
from pathlib import Path
from typing import Any

import docker
import docker.errors
import requests

from pytest_bench.containers import commands
from pytest_bench.files import write_json
from pytest_bench.redaction import redact_foreign

NAME = "diagnostics.json"

_PROBE_TIMEOUT_S = 10.0
_LARGEST = 64 << 10
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


def collect(client: docker.DockerClient, container: docker.models.containers.Container, folder: Path) -> None:
    """Write what the engine and the container tell about it to `diagnostics.json` in `folder`."""
    found: dict[str, Any] = {}
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        found["state"] = _within(pool, lambda: _state(container))
        for name, words in _COMMANDS.items():
            found[name] = _within(pool, partial(_output, client, container, words))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    write_json(folder / NAME, found)


def _within(pool: ThreadPoolExecutor, probe: Callable[[], Any]) -> Any:
    """The result of a probe, or why it has none."""
    try:
        return pool.submit(probe).result(_PROBE_TIMEOUT_S)
    except LateError:
        return {"failed": f"no answer within {_PROBE_TIMEOUT_S:g} s"}
    except (docker.errors.DockerException, requests.RequestException, OSError, LookupError) as error:
        return {"failed": str(error)[:_LARGEST]}


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
