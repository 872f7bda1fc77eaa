"""The simulator as a child process."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self

import msgspec

from pytest_bench.errors import EndpointError
from pytest_bench.simulator.behaviour import Behaviour

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0


class _Ready(msgspec.Struct):
    url: str
    pid: int


class Simulator:
    """A running simulator. Close it, or use it as a context manager; it ends by itself if its parent dies."""

    def __init__(
        self, process: subprocess.Popen[bytes], ready: _Ready, log: Path | None, errors: IO[bytes]
    ) -> None:
        self.url = ready.url
        """Where it listens: scheme, host and port."""
        self.pid = ready.pid
        self.log = log
        """Its ground-truth log, complete once it is closed."""
        self._process = process
        self._errors = errors
        """The file that takes its error output."""

    def require_running(self) -> None:
        """Raises `EndpointError` with its last words if it has ended."""
        if self._process.poll() is not None and not self._errors.closed:
            raise EndpointError(
                f"the simulator stopped (exit status {self._process.returncode}): {_words(self._errors)}"
            )

    def close(self) -> None:
        """End it and wait until it has ended. Is idempotent.

        Raises `EndpointError` with its last words if it failed, before or while it ended.
        """
        if self._errors.closed:
            return
        _end(self._process)
        with self._errors:
            if self._process.returncode > 0:
                self.require_running()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def start(behaviour: Behaviour, *, log: Path | None = None, port: int = 0) -> Simulator:
    """Start the simulator on loopback and wait until it listens; `port` 0 takes a free one.

    Raises `EndpointError` with the end of its error output if it does not start.
    """
    argv = [sys.executable, "-P", "-m", "pytest_bench.simulator", "--port", str(port), "--exit-on-eof"]
    argv += ["--behaviour", msgspec.json.encode(behaviour).decode()]
    if log is not None:
        argv += ["--log", str(log)]
    with contextlib.ExitStack() as unless_started:
        errors = unless_started.enter_context(tempfile.TemporaryFile())
        # A process group of its own: Ctrl-C in a terminal ends the measurement first, and that ends the server.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": _import_path(sys.path)},
            process_group=0,
        )
        unless_started.callback(_end, process)
        ready = _await_ready(process)
        if ready is None:
            _end(process)
            raise EndpointError(
                f"the simulator did not start within {START_TIMEOUT_S:g} s"
                f" (exit status {process.returncode}): {_words(errors)}"
            )
        unless_started.pop_all()
    return Simulator(process, ready, log, errors)


def _words(errors: IO[bytes]) -> str:
    """The end of a process's error output."""
    errors.seek(0)
    return errors.read().decode(errors="replace").strip()[-2000:] or "it wrote no error"


def _await_ready(process: subprocess.Popen[bytes]) -> _Ready | None:
    """What it prints once it listens; None if it ends or does not print it in time."""
    stream = process.stdout
    if stream is None or not select.select([stream], [], [], START_TIMEOUT_S)[0]:
        return None
    line = stream.readline()
    return msgspec.json.decode(line, type=_Ready) if line else None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    for insist in (None, process.terminate, process.kill):
        if insist is not None:
            insist()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
            break
    if process.stdout is not None:
        process.stdout.close()


def _import_path(entries: Sequence[str]) -> str:
    """This process's import path for the child, which may run in another folder."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in entries)
