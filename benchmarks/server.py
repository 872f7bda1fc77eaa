"""The compiled server: built when its source changes, started for one run, its stamps read at the end."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from benchmarks.process import BENCH
from pytest_bench.errors import EndpointError

Stamps = NDArray[np.void]
"""One row a chat completion, in order of completion; fields as in `LAYOUT`."""

LAYOUT = np.dtype(
    [
        ("id", "S64"),
        ("arrival_ns", "<i8"),
        ("first_ns", "<i8"),
        ("last_ns", "<i8"),
        ("first_written_ns", "<i8"),
        ("last_written_ns", "<i8"),
    ]
)
"""`struct stamp` of server.c: CLOCK_MONOTONIC when the request had been read, and just before the writes
that carried the first and the last content event."""

TTFT_MS, ITL_MS, EVENTS = 50.0, 10.0, 128
"""Of a paced response: the first event, the gap to each further one, and how many there are."""


def wave_s(itl_ms: float = ITL_MS) -> float:
    """Seconds from a request to the last event of its paced response."""
    return (TTFT_MS + (EVENTS - 1) * itl_ms) / 1000


def build() -> Path:
    """Compile server.c unless this very source has been compiled before.

    Raises `EndpointError` where there is no C compiler or it refuses.
    """
    source = Path(__file__).with_name("server.c")
    program = BENCH / f"server-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if program.exists():
        return program
    BENCH.mkdir(exist_ok=True)
    unfinished = program.with_suffix(".new")
    command = ["cc", "-O2", "-std=c11", "-Wall", "-Wextra", "-o", str(unfinished), str(source)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise EndpointError("no C compiler `cc` to build the benchmark's server with: install gcc") from error
    except subprocess.CalledProcessError as error:
        raise EndpointError(f"{source.name} does not compile:\n{error.stderr}") from error
    unfinished.replace(program)
    return program


class Server:
    """A running server. A context manager; `stop` ends it early and returns its stamps.

    `core`: the one core it may use. `itl_ms`: between the events of a paced response.
    """

    def __init__(
        self,
        folder: Path,
        *,
        paced: bool = False,
        events: int = EVENTS,
        core: int | None = None,
        itl_ms: float = ITL_MS,
    ) -> None:
        self._stamps = folder / "stamps.bin"
        mode = ["--paced", "--ttft-ms", str(TTFT_MS), "--itl-ms", str(itl_ms)] if paced else ["--at-once"]
        command = [str(build()), *mode, "--events", str(events), "--stamps", str(self._stamps)]
        self._process: subprocess.Popen[str] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if core is not None:
            os.sched_setaffinity(self._process.pid, {core})
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line.startswith("listening "):
            self._end()
            raise EndpointError(f"the benchmark's server did not start: it said {line!r}")
        self.port = int(line.split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def pause(self) -> None:
        """Stop it as if the machine had stalled, until `resume`."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> Stamps:
        """End it. The stamps of every chat completion it delivered whole."""
        self._end()
        return np.fromfile(self._stamps, dtype=LAYOUT)

    def _end(self) -> None:
        if self._process.poll() is None:
            self.resume()
            self._process.terminate()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
