"""Programs that are run in a container."""

from __future__ import annotations

from collections.abc import Sequence

import docker
from docker.utils.socket import frames_iter

_STDOUT = 1


def run(
    client: docker.DockerClient,
    container: str,
    words: Sequence[str],
    *,
    user: str = "0",
    largest: int | None = None,
) -> tuple[int | None, bytes]:
    """Run a program in a container, and return its exit status and its standard output.

    After `largest` bytes of output nothing more is read, and the status is None. Raises the SDK's errors.
    """
    started = client.api.exec_create(container, list(words), stderr=False, user=user)
    # As a socket, because the SDK itself leaves it open.
    stream = client.api.exec_start(started["Id"], socket=True)
    output = bytearray()
    try:
        for kind, data in frames_iter(stream, tty=False):
            output += data if kind == _STDOUT else b""
            if largest is not None and len(output) > largest:
                return None, bytes(output[:largest])
    finally:
        stream._response.close()  # noqa: SLF001 # as above
    return int(client.api.exec_inspect(started["Id"])["ExitCode"]), bytes(output)
