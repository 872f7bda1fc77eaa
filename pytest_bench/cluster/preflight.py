"""The checks of every node of an allocation before anything is started there.

One step a node runs a module that answers a request on its standard input (`running/node_report.py`). The step is
started exactly as the xdist worker will be. Lines without the request's token are not answers: a site's task prolog may
write to the same output.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Literal, TypeVar

import msgspec

from pytest_bench.child import Child, python
from pytest_bench.cluster.allocation import Allocation
from pytest_bench.wording import printable

MODULE = "pytest_bench.running.node_report"
TIMEOUT_S = 120.0
"""How long a node may take to start the interpreter and answer."""
MOST_CLOCK_OFFSET_S = 1.0
"""Evidence of several nodes is ordered by their clocks."""
LEAST_FREE_BYTES = 1 << 30
"""Free space that a node needs where it writes results and temporary files."""

NODES_VERSION = 1

_CLOCK_ROUNDS = 3
_STOP_S = 5.0


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is asked."""

    token: str
    """Every line of the answer begins with it."""
    folder: str
    """The working folder, as an absolute path."""
    results: str
    nonce: str
    """Of the session, which the results folder must show on the node."""
    needs_docker: bool
    gpus: dict[str, tuple[str, ...] | Literal["all"] | None]
    """GPUs that containers ask for, by the place of their declaration."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a node found."""

    host: str
    """Its own name for itself."""
    versions: dict[str, str]
    """Versions of Python and of the packages that must be equal, by name."""
    has_folder: bool
    results_problem: str | None
    """Why the results folder is not the session's; None if it is."""
    free_bytes: dict[str, int]
    """Free space by folder."""
    gpus: tuple[str, ...] | None
    """Names of its GPUs, by index; None if no vendor's tool lists any."""
    problems: tuple[str, ...]
    """What the containers need and the node does not have."""


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    realtime_ns: int


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node's answer, as the controller received it."""

    report: Report | None
    clock_offset_s: float = 0.0
    """Lower bound of the distance from the controller's clock; negative if it is behind."""
    silence: str = ""
    """Why there is no report."""


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node is, as it reported before anything was started on it."""

    host: str
    """Its own name for itself."""
    versions: dict[str, str]
    free_bytes: dict[str, int]
    """Free space by folder."""
    gpus: tuple[str, ...] | None
    """Names, by index; None if no vendor's tool lists any."""
    clock_offset_s: float
    """Lower bound of the distance from the controller's clock; negative if it is behind."""


class NodesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of `nodes.json`: the nodes of a session or of a point."""

    version: int = NODES_VERSION
    nonce: str
    """Of the session."""
    job: str
    """Id of the Slurm job."""
    nodes: dict[str, NodeFacts]
    """By name in the allocation, in the order of ranks."""


def facts(nodes: Mapping[str, Node], nonce: str, job: str) -> NodesFile:
    """What the nodes that answered reported."""
    return NodesFile(
        nonce=nonce,
        job=job,
        nodes={
            name: NodeFacts(
                host=node.report.host,
                versions=node.report.versions,
                free_bytes=node.report.free_bytes,
                gpus=node.report.gpus,
                clock_offset_s=node.clock_offset_s,
            )
            for name, node in nodes.items()
            if node.report is not None
        },
    )


def clock_offset_s(sent_ns: int, answered_ns: int, received_ns: int) -> float:
    """Return the smallest offset, in seconds, of a clock that showed `answered_ns` between two readings of ours."""
    ahead, behind = answered_ns - received_ns, sent_ns - answered_ns
    return (ahead if ahead > 0 else -behind if behind > 0 else 0) / 1e9


def problems(nodes: Mapping[str, Node], own: Mapping[str, str], here: str, request: Request) -> Iterator[str]:
    """Yield why a session cannot run on these nodes. `own` are the controller's versions, `here` is its host."""
    for name, node in nodes.items():
        report = node.report
        if report is None:
            yield (
                f"{name}: {python(MODULE)[0]}, which runs on {here}, does not run on {name}: {node.silence}; install "
                "this environment under the same path on every node, or on a file system that all of them share"
            )
            continue
        place = name if name == report.host else f"{name} (host {report.host})"
        for what in sorted(own.keys() | report.versions.keys()):
            mine, other = own.get(what, "none"), report.versions.get(what, "none")
            if mine != other:
                yield f"{place}: has {what} {other}, but {here} has {mine}; install the same version on both"
        if not report.has_folder:
            yield (
                f"{place}: the working folder {request.folder} does not exist there; call pytest in a folder on a "
                "file system that all nodes share"
            )
        if report.results_problem is not None:
            yield (
                f"{place}: the results folder {request.results} is not that of {here}: {report.results_problem}; name "
                "one on a file system that all nodes share with --results"
            )
        for folder, free in report.free_bytes.items():
            if free < LEAST_FREE_BYTES:
                yield (
                    f"{place}: {folder} has {free >> 20} MiB free, expected {LEAST_FREE_BYTES >> 20} MiB or more; "
                    "remove files there"
                )
        offset_s = abs(node.clock_offset_s)
        if offset_s > MOST_CLOCK_OFFSET_S:
            yield (
                f"{place}: its clock differs from that of {here} by {offset_s:.1f} s or more, expected "
                f"at most {MOST_CLOCK_OFFSET_S:g} s; synchronise the clocks of all nodes (NTP or PTP)"
            )
        yield from (f"{place}: {problem}" for problem in report.problems)


def ask(allocation: Allocation, request: Request, timeout_s: float = TIMEOUT_S) -> dict[str, Node]:
    """Ask every node of the allocation, all at the same time."""
    deadline = time.monotonic() + timeout_s
    with ExitStack() as started:
        children = {}
        for name in allocation.nodes:
            child = Child(allocation.step(name, python(MODULE)))
            started.callback(child.stop, _STOP_S)
            child.send(msgspec.json.encode(request) + b"\n")
            children[name] = child
        nodes = {name: _answer(child, request.token, deadline, timeout_s) for name, child in children.items()}
        for child in children.values():  # first all of them, because a step takes a moment to end
            child.stdin.close()
        return nodes


def new_token() -> str:
    return secrets.token_hex(8)


def _answer(child: Child, token: str, deadline: float, timeout_s: float) -> Node:
    report = _read(child, token, deadline, Report)
    if report is None:
        status = child.wait(_STOP_S)
        why = printable(" ".join(child.stderr_tail().split()))
        if status is None:
            why = f"no answer within {timeout_s:g} s {why}".rstrip()
        return Node(report=None, silence=why or f"its step ended with status {status}")
    offsets = []
    for _ in range(_CLOCK_ROUNDS):
        sent = time.time_ns()
        child.send(b"\n")
        reading = _read(child, token, deadline, ClockReading)
        if reading is None:
            return Node(report=None, silence="its step ended after its first answer")
        offsets.append(clock_offset_s(sent, reading.realtime_ns, time.time_ns()))
    # Every round gives a lower bound of the same offset.
    return Node(report=report, clock_offset_s=max(offsets, key=abs))


_Answer = TypeVar("_Answer", Report, ClockReading)


def _read(child: Child, token: str, deadline: float, kind: type[_Answer]) -> _Answer | None:
    """Read lines until one begins with the token; None at the end of the output, and at the deadline."""
    while line := child.first_line(max(0.0, deadline - time.monotonic())):
        found, _, answer = line.decode("utf-8", "replace").partition(" ")
        if found == token:
            return msgspec.json.decode(answer, type=kind)
    return None
