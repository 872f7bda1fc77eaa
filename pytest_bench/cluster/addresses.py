"""The address at which other nodes reach this one."""

from __future__ import annotations

import platform
import socket
from collections.abc import Iterator, Mapping

from pytest_bench.cluster.place import require_routable
from pytest_bench.errors import UsageError

LAUNCHER = "SLURM_LAUNCH_NODE_IPADDR"
"""Slurm's address of the node that started the step."""

_PORT = 9
"""Any: nothing is sent."""


def own_address(environ: Mapping[str, str]) -> str:
    """Return a literal address of this node that other nodes reach.

    It is the one from which this node reaches the launcher of the step, or else one of its host name. Raises
    `UsageError` if neither can be reached from other nodes.
    """
    problems = []
    for literal, source in _candidates(environ):
        try:
            require_routable(literal, source)
        except UsageError as error:
            problems.append(str(error))
        else:
            return literal
    raise UsageError(
        f"{platform.node()} has no address that other nodes reach: {'; '.join(problems) or 'none was found'}; give its "
        "host name one, in DNS or /etc/hosts"
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Addresses, each with where it comes from."""
    launcher = environ.get(LAUNCHER)
    if launcher:
        family = socket.AF_INET6 if ":" in launcher else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((launcher, _PORT))
                yield probe.getsockname()[0], f"the route to {LAUNCHER}={launcher}"
        except OSError:
            pass  # no route: the host name decides
    try:
        found = socket.getaddrinfo(platform.node(), None, type=socket.SOCK_STREAM)
    except OSError:
        return
    for *_, address in found:
        yield str(address[0]), f"the host name {platform.node()}"
