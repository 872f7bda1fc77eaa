"""`container.json`: what ran, what was asked for, and what was verified."""

from __future__ import annotations

from typing import Any

import msgspec

from pytest_bench.containers.artifacts import Artifact
from pytest_bench.containers.engine import Engine
from pytest_bench.containers.log import LogFile

VERSION = 2
NAME = "container.json"


class ImageUsed(msgspec.Struct, frozen=True, kw_only=True):
    """The image that ran."""

    reference: str
    """As the suite names it."""
    id: str
    """On this engine; the container was started by it."""
    identity: str
    """sha256 of layers and configuration, which is the same on every engine."""
    layers: tuple[str, ...]
    provenance: str
    """Where it came from: `loaded` (from the cache), `built`, `present` (on the engine), `pulled`."""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A process whose environment and arguments are those that were asked for."""

    listener: int
    """Id, in the container, of the process that listens on the port."""
    source: int
    """The process whose environment and command line were compared: the listener, or its nearest ancestor that has not
    overwritten them."""
    command_line: tuple[str, ...]


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How the container ended."""

    exit_code: int
    out_of_memory: bool
    error: str
    """The engine's error; empty if there is none."""
    started: str
    finished: str


class LogProof(msgspec.Struct, frozen=True, kw_only=True):
    """What requests have shown about the log before the first point."""

    silenced: tuple[str, ...] = ()
    """Classes of lines that no request has added."""
    requests: int = 0
    warnings_proven: bool = False
    """Whether a warning has appeared, exactly once, that a request was meant to cause."""


class Evidence(msgspec.Struct, kw_only=True):
    """Content of `container.json`. Written when the server is verified, and again when the container has ended."""

    version: int = VERSION
    nonce: str
    """Nonce of the session."""
    name: str
    role: str = ""
    """Empty if it is the only container of its deployment."""
    critical: bool = True
    engine: Engine
    image: ImageUsed
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[str, ...]
    """Names that were asked for."""
    forwarded: tuple[str, ...]
    """Those of them that came from the host."""
    asked: dict[str, Any]
    """The engine's own record of resources, network and mounts (`HostConfig`), without empty values."""
    replaced_mounts: tuple[str, ...] = ()
    """A sentence for each mount of a manifest's context that the model's own has replaced."""
    url: str = ""
    published: dict[str, str] = {}
    """Where the ports of the container are published on the host."""
    verified: tuple[Verified, ...] = ()
    """Empty if the server did not get that far."""
    ended: End | None = None
    """None while the container runs."""
    ended_early: bool = False
    """It had ended before the session stopped it."""
    log: LogFile | None = None
    log_proof: LogProof = LogProof()
    artifacts: tuple[Artifact, ...] = ()
    problems: tuple[str, ...] = ()
    """What could not be collected, and why."""
