"""A process that removes a session's containers if the session's process dies, whatever killed it.

`python -m pytest_bench.containers.watchdog OWNER`: it acknowledges on standard output, then waits on standard input.
The kernel closes that pipe when the session's process ends. Unless a word on it has said that the containers are
removed, the watchdog then removes every container and network with the label of OWNER, and ends. After SIGTERM, which a
scheduler sends to every process of a job, the session has a few seconds to remove them itself.

After SIGKILL of the session nothing is left within ten seconds: the pipe closes at once, what is found is killed
without a grace period, and the watchdog ends when it has found nothing more for `SETTLE_S`. If the engine does not
answer, it tries again for `GIVE_UP_S`; what then remains is removed by the next session.
"""

from __future__ import annotations

import contextlib
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_bench.child import Child, python

if TYPE_CHECKING:
    import docker

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 120.0
"""For removing what is left."""
_ACKNOWLEDGED = b"watching\n"
_DONE = b"removed\n"
SETTLE_S = 3.0
"""The engine may still be creating a container when the session's process is killed."""
INTERVAL_S = 0.25
GIVE_UP_S = 110.0
_AFTER_SIGTERM_S = 15.0


class Watch:
    """A running watchdog."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def stand_down(self) -> None:
        """Tell it that the containers are removed, and wait until it has ended."""
        self._child.send(_DONE)
        self.close()

    def close(self) -> None:
        """Close its standard input, after which it removes what is left. Is idempotent."""
        self._child.stop(_STOP_TIMEOUT_S)


@contextlib.contextmanager
def watching(owner: str, log: Path) -> Iterator[Watch]:
    """Run a watchdog for the containers of `owner` while the block runs. It has acknowledged when the block begins.

    `log` receives its errors. Raises `ContainerError` if it does not start.
    """
    from pytest_bench.containers.engine import ContainerError  # noqa: PLC0415 # as in `main`

    child = Child(python("pytest_bench.containers.watchdog", owner), errors=log)
    watch = Watch(child)
    try:
        if child.first_line(_START_TIMEOUT_S) != _ACKNOWLEDGED:
            status = child.stop(_STOP_TIMEOUT_S)
            raise ContainerError(
                f"the watchdog of the container did not start (exit status {status}): "
                f"{child.stderr_tail() or 'it wrote no error'}"
            )
        yield watch
    finally:
        watch.close()


def main() -> int:
    """Watch until standard input ends."""
    (owner,) = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    # Imported here, so that a signal that arrives meanwhile is handled as later ones are.
    from pytest_bench.containers.engine import connect  # noqa: PLC0415 # only needed to clean up

    # A watchdog that cannot reach the engine must not let a server start.
    with connect() as client:
        client.ping()
        sys.stdout.buffer.write(_ACKNOWLEDGED)
        sys.stdout.buffer.flush()
        if _word() == _DONE:
            return 0
        return remove_all(client, owner)


def remove_all(client: docker.DockerClient, owner: str) -> int:
    """Remove what has the label of `owner`, until there has been nothing more for a while. Returns the exit status."""
    from pytest_bench.containers.engine import ContainerError, api_errors  # noqa: PLC0415 # as in `main`
    from pytest_bench.containers.ownership import remove_of  # noqa: PLC0415 # as in `main`

    began = time.monotonic()
    settled = began + SETTLE_S
    while time.monotonic() < settled:
        try:
            with api_errors("what a killed session left"):
                for name in remove_of(client, owner):
                    print(f"removed {name}: its session has ended", file=sys.stderr, flush=True)
        except ContainerError as error:
            print(error, file=sys.stderr, flush=True)
            if time.monotonic() - began > GIVE_UP_S:
                return 1
            settled = time.monotonic() + SETTLE_S
        time.sleep(INTERVAL_S)
    return 0


def _word() -> bytes:
    """What the session wrote before it closed the pipe; empty if it wrote nothing, or does not end in time."""
    try:
        word = sys.stdin.buffer.read()
        # `pytest-bench run` ends what a killed session left with SIGTERM, while this process removes its containers.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return word  # noqa: TRY300 # a signal until here is one that came before
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready, _, _ = select.select([sys.stdin], [], [], _AFTER_SIGTERM_S)
    return sys.stdin.buffer.read() if ready else b""


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
