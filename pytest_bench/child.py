"""Child processes that run code of ours: started, addressed, watched and ended in one way.

A child has a process group of its own, so that Ctrl-C in a terminal reaches only the parent, which decides. Its
standard input is a pipe that ends when the parent ends, however that happens: a child that reads it need not outlive
the parent. What it writes to standard error is kept in a file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

_TAIL_BYTES = 2000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module with this interpreter; `-P` keeps the working directory off its import path."""
    return (sys.executable, "-P", "-m", module, *arguments)


class Child:
    """A child process, and its standard input and output as pipes. The code that starts it must call `stop`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
        errors: Path | None = None,
    ) -> None:
        """Start `command` with this process's import path. The child inherits `descriptors` under the same numbers.

        `environment` is added to that of this process. Standard error is appended to the file `errors`; default: a file
        without a name. Raises `OSError` if the child cannot be started.
        """
        # Closed by `stop`.
        self._stderr = TemporaryFile() if errors is None else errors.open("a+b")  # noqa: SIM115 # closed by `stop`
        self._tail = ""
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": _import_path(), **(environment or {})},
                pass_fds=descriptors,
                process_group=0,
            )
        except BaseException:
            self._stderr.close()
            raise
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("both were asked to be pipes")
        self.stdin, self.stdout = self._process.stdin, self._process.stdout
        """Without a buffer."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes) -> None:
        """Write to its standard input. If the child has ended the data is lost; the end of its output reports that."""
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.stdin.fileno(), data) :]

    def readable(self, timeout_s: float = 0.0) -> bool:
        """Whether its standard output can be read, or has ended."""
        poll = select.poll()
        poll.register(self.stdout, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def first_line(self, timeout_s: float) -> bytes | None:
        """The first line of its standard output, by which it reports that it is ready or done.

        None if the child ends without a line, or does not begin one within `timeout_s`.
        """
        return (self.stdout.readline() or None) if self.readable(timeout_s) else None

    def wait(self, timeout_s: float = 0.0) -> int | None:
        """Wait for its end. Returns the exit status (negative: ended by that signal); None if it still runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def kill(self) -> None:
        """Send SIGKILL, and do not wait for the end."""
        self._process.kill()

    def stop(self, grace_s: float = 0.0) -> int:
        """End it and return its exit status. Idempotent.

        The end of its input asks it to end. If it has not done so after `grace_s` it gets SIGTERM, and after the same
        time again SIGKILL. Without `grace_s` it is killed at once.
        """
        self.stdin.close()
        if grace_s and self.wait(grace_s) is None:
            self._process.terminate()
            self.wait(grace_s)
        self._process.kill()  # without effect if it has ended
        status = self._process.wait()
        self.stdout.close()
        if not self._stderr.closed:
            self._tail = self._read_tail()
            self._stderr.close()
        return status

    def stderr_tail(self) -> str:
        """The end of what it has written to standard error, also after `stop`."""
        return self._tail if self._stderr.closed else self._read_tail()

    def _read_tail(self) -> str:
        size = os.fstat(self._stderr.fileno()).st_size
        # With `pread`, because the child writes at the position that both share.
        tail = os.pread(self._stderr.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        return tail.decode("utf-8", "replace").strip()


def die_with_parent() -> None:
    """Let the kernel kill this process at the end of the thread that started it: a child that hangs or is stopped
    cannot notice the end of its input. Does nothing on systems other than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_descendants() -> None:
    """Make descendants of this process whose parents end its children. Does nothing on systems other than Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _import_path() -> str:
    """This process's import path, for a child that may run in another folder."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
