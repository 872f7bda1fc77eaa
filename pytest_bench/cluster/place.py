"""Where this process stands among the nodes of a job, and where they meet: read from the environment, strictly.

A value that is missing or malformed is an error. It is never taken for rank 0, or for a job of one node.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import platform
import re
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pytest_bench.cluster.frames import MOST_RANKS
from pytest_bench.cluster.proof import SECRET_BYTES
from pytest_bench.errors import UsageError

RANK, SIZE = ("NODE_RANK", "SLURM_NODEID"), ("NNODES", "SLURM_STEP_NUM_NODES", "SLURM_JOB_NUM_NODES")
ADDRESS, PORT, JOB = "MASTER_ADDR", "PYTEST_BENCH_RENDEZVOUS_PORT", "PYTEST_BENCH_RENDEZVOUS_JOB"
SECRET, SECRET_FILE = "PYTEST_BENCH_RENDEZVOUS_SECRET", "PYTEST_BENCH_RENDEZVOUS_SECRET_FILE"

_TRIED_PORTS = 16
_FIRST_PORT, _LAST_PORT = 20000, 32000
"""Below the ephemeral ports of Linux (32768-60999), which a client of anybody may hold."""
_DIGITS = re.compile(r"0|[1-9][0-9]{0,6}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One rank of a job, and where rank 0 listens."""

    rank: int
    size: int
    host: str
    """This machine's name, for messages."""
    job: str
    """Identifies the job to its own ranks."""
    address: str
    """Address at which rank 0 listens, as a literal."""
    ports: tuple[int, ...]
    """Ports at which it may listen, in the order in which they are tried."""


def read_place(environ: Mapping[str, str]) -> Place:
    """Read this process's place from the environment. Raises `UsageError`."""
    rank, size = read_rank(environ)
    host = platform.node()
    if size == 1:
        return Place(rank=0, size=1, host=host, job="", address="", ports=())
    job = environ.get(JOB) or ".".join(
        filter(None, (environ.get("SLURM_JOB_ID"), environ.get("SLURM_STEP_ID")))
    )
    if not job:
        raise UsageError(
            f"{JOB}: not set, and neither is SLURM_JOB_ID; set it to the same new text on every node"
        )
    return Place(
        rank=rank, size=size, host=host, job=job, address=_address(environ), ports=_ports(environ, job)
    )


def read_rank(environ: Mapping[str, str]) -> tuple[int, int]:
    """Read the rank of this process, and how many there are. Raises `UsageError`."""
    rank, size = _integer(environ, RANK), _integer(environ, SIZE)
    if not 1 <= size <= MOST_RANKS:
        raise UsageError(f"{_name(environ, SIZE)}={size}: expected 1 to {MOST_RANKS} nodes")
    if rank >= size:
        raise UsageError(
            f"{_name(environ, RANK)}={rank}, {_name(environ, SIZE)}={size}: expected a rank below the number of nodes"
        )
    return rank, size


def read_secret(environ: Mapping[str, str]) -> bytes:
    """Read the job's secret. Raises `UsageError`, whose message does not contain it."""
    text, where = environ.get(SECRET), SECRET
    if not text:
        where = environ.get(SECRET_FILE, "")
        if not where:
            raise UsageError(
                f"{SECRET}: not set, and neither is {SECRET_FILE}; make one secret for the job, as in "
                f"export {SECRET}=$(openssl rand -hex {SECRET_BYTES})"
            )
        text = _read_private(Path(where))
    if not re.fullmatch(f"[0-9a-f]{{{2 * SECRET_BYTES}}}", text.strip()):
        raise UsageError(f"{where}: expected {2 * SECRET_BYTES} hexadecimal digits in lower case")
    return bytes.fromhex(text.strip())


def derived_ports(master_port: str, job: str) -> tuple[int, ...]:
    """Return the ports to try if none is declared. Every rank of a job derives the same ones."""
    digest = hashlib.sha256(f"{master_port}\0{job}".encode()).digest()
    first = _FIRST_PORT + int.from_bytes(digest[:8], "big") % (_LAST_PORT - _FIRST_PORT - _TRIED_PORTS)
    return tuple(range(first, first + _TRIED_PORTS))


def require_routable(literal: str, source: str) -> None:
    """Raises `UsageError` for an address that other nodes cannot reach."""
    address = ipaddress.ip_address(literal)
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        raise UsageError(
            f"{source}: the address {literal} cannot be reached from other nodes; set {ADDRESS} to an address of rank "
            "0's node that they reach, as a literal such as 10.0.0.7"
        )


def _address(environ: Mapping[str, str]) -> str:
    given = environ.get(ADDRESS)
    if not given:
        raise UsageError(
            f"{ADDRESS}: not set; set it on every node to an address of rank 0's node, as in 10.0.0.7"
        )
    try:
        literal = str(ipaddress.ip_address(given))
    except ValueError:
        literal = _resolved(given)
    require_routable(literal, f"{ADDRESS}={given}")
    return literal


def _resolved(name: str) -> str:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(
            f"{ADDRESS}={name}: cannot be resolved: {error}; set it to a literal address"
        ) from error
    return str(found[0][4][0])


def _ports(environ: Mapping[str, str], job: str) -> tuple[int, ...]:
    if environ.get(PORT):
        port = _integer(environ, (PORT,))
        if not 1 <= port < 1 << 16:
            raise UsageError(f"{PORT}={port}: expected a port from 1 to 65535")
        return (port,)
    return derived_ports(environ.get("MASTER_PORT", ""), job)


def _name(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((name for name in names if name in environ), names[0])


def _integer(environ: Mapping[str, str], names: tuple[str, ...]) -> int:
    """Read the first of these variables that is set. An empty value is malformed, not missing."""
    name = _name(environ, names)
    text = environ.get(name)
    if text is None:
        raise UsageError(f"{' or '.join(names)}: not set; expected a whole number")
    if not _DIGITS.fullmatch(text):
        raise UsageError(f"{name}={text!r}: expected a whole number in decimal digits")
    return int(text)


def _read_private(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{SECRET_FILE}={path}: cannot be read: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError(
            f"{SECRET_FILE}={path}: has mode {stat.S_IMODE(mode):04o}, expected 0600; run chmod 600 on it"
        )
    return text
