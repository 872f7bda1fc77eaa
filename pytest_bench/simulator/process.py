"""The simulator as a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import msgspec

from pytest_bench.child import Child, python
from pytest_bench.errors import EndpointError
from pytest_bench.simulator.behaviour import Behaviour

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0


class _Ready(msgspec.Struct):
    url: str
    pid: int


class Simulator:
    """A running simulator. Close it, or use it as a context manager; it ends by itself if its parent dies."""

    def __init__(self, child: Child, ready: _Ready, log: Path | None) -> None:
        self.url = ready.url
        """Where it listens: scheme, host and port."""
        self.pid = ready.pid
        self.log = log
        """Its ground-truth log, complete once it is closed."""
        self._child = child
        self._closed = False

    def require_running(self) -> None:
        """Raises `EndpointError` with the end of its error output if it has ended by itself."""
        status = self._child.wait()
        if status is not None and not self._closed:
            raise EndpointError(f"the simulator stopped (exit status {status}): {_errors(self._child)}")

    def close(self) -> None:
        """End it and wait until it has ended. Is idempotent.

        Raises `EndpointError` with the end of its error output if it failed, before or while it ended.
        """
        if self._closed:
            return
        status = self._child.stop(STOP_TIMEOUT_S)
        try:
            if status > 0:
                self.require_running()
        finally:
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(behaviour: Behaviour, *, log: Path | None = None) -> Simulator:
    """Start the simulator on a free port of loopback and wait until it listens.

    Raises `EndpointError` with the end of its error output if it does not start.
    """
    arguments = ["--port", "0", "--exit-on-eof"]
    arguments += ["--behaviour", msgspec.json.encode(behaviour).decode()]
    if log is not None:
        arguments += ["--log", str(log)]
    child = Child(python("pytest_bench.simulator", *arguments))
    try:
        ready = _await_ready(child)
    except BaseException:
        child.stop()
        raise
    return Simulator(child, ready, log)


def _await_ready(child: Child) -> _Ready:
    """What it prints once it listens. Raises `EndpointError` if it ends, or does not print it in time."""
    line = child.first_line(START_TIMEOUT_S)
    if line is None:
        status = child.stop(STOP_TIMEOUT_S)
        raise EndpointError(
            f"the simulator did not start within {START_TIMEOUT_S:g} s (exit status {status}): {_errors(child)}"
        )
    return msgspec.json.decode(line, type=_Ready)


def _errors(child: Child) -> str:
    return child.stderr_tail() or "it wrote no error"
