"""The nodes that a point runs on: this host, or the first nodes of the Slurm allocation, checked beforehand."""

from __future__ import annotations

import os
import platform
from typing import NamedTuple

from pytest_bench import host
from pytest_bench.cluster import Allocation, preflight, read_allocation
from pytest_bench.cluster.allocation import JOB_ID
from pytest_bench.errors import UsageError
from pytest_bench.files import write_json
from pytest_bench.results.layout import NODE_FACTS
from pytest_bench.running.session import SessionFacts
from pytest_bench.suite.plan import Point


class Place(NamedTuple):
    """Where the tasks of a point run."""

    job: str
    """Id of the Slurm job; outside of one, the nonce of the session."""
    names: tuple[str, ...]
    """Names of the nodes, by rank."""
    allocation: Allocation | None
    """None: everything runs here."""


def nodes_for(session: SessionFacts, point: Point) -> Place:
    """Return the nodes of a point, checked if there are several.

    What several nodes report is written into the point's folder. Raises `UsageError` if the session has no allocation
    of that many nodes, or one of them cannot run the point.
    """
    size = int(point.options["nodes"])
    if size == 1:
        return Place(os.environ.get(JOB_ID) or session.nonce, (platform.node(),), None)
    from pytest_bench.running.node_report import versions  # noqa: PLC0415 # loads docker

    allocation = read_allocation(os.environ, f"{point.origin}: {point.id} needs {size} nodes")
    if len(allocation.nodes) < size:
        raise UsageError(
            f"{point.origin}: {point.id} needs {size} nodes, and job {allocation.job_id} has "
            f"{len(allocation.nodes)}: ask for more with `salloc --nodes {size}`"
        )
    allocation = Allocation(job_id=allocation.job_id, nodes=allocation.nodes[:size])
    request = preflight.Request(
        token=preflight.new_token(),
        folder=session.plan.folder(point.suite),
        results=str(session.results),
        nonce=session.nonce,
        needs_docker=False,
        gpus={},
    )
    answers = preflight.ask(allocation, request)
    if found := list(preflight.problems(answers, versions(), host.name(), request)):
        raise UsageError(
            f"{point.origin}: {point.id}: nothing was started on the nodes of job {allocation.job_id}:\n"
            + "\n".join(f"  {problem}" for problem in found)
        )
    facts = preflight.facts(answers, session.nonce, allocation.job_id)
    write_json(session.folder(point) / NODE_FACTS, facts)
    return Place(allocation.job_id, allocation.nodes, allocation)
