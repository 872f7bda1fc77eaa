"""`--slurm`: use all nodes of the Slurm allocation that the call runs in.

Deployments of one node are spread: one xdist worker runs on every node. A deployment on several nodes takes the whole
allocation, and its points run in this process.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from msgspec import UNSET

from pytest_bench import host
from pytest_bench.cluster import preflight
from pytest_bench.cluster.allocation import Allocation, read_allocation, require_nodes
from pytest_bench.errors import UsageError
from pytest_bench.files import write_json
from pytest_bench.plugin.session import Session
from pytest_bench.results import layout
from pytest_bench.results.event_log import MAIN, RUN
from pytest_bench.suite.plan import Plan


def spread_over_nodes(config: pytest.Config, session: Session) -> None:
    """Check every node, and set xdist's options as if the command line named one worker a node, unless the deployments
    need several nodes each.

    Raises `UsageError`, before anything is started on a node, if one of them cannot run the session.
    """
    from pytest_bench.running.node_report import versions  # noqa: PLC0415 # heavy, and needed with --slurm only

    _require_one_node_each(session)
    allocation = read_allocation(os.environ)
    _require_names(allocation)
    deployments = session.plan.deployments.values()
    takes_all = _takes_all_nodes(session.plan, allocation)
    containers = {plan.origin: plan.container for plan in deployments if plan.container is not None}
    request = preflight.Request(
        token=preflight.new_token(),
        folder=str(Path.cwd()),
        results=str(session.results),
        nonce=session.nonce,
        needs_docker=bool(containers),
        gpus={origin: container.gpus for origin, container in containers.items() if container.gpus},
    )
    here = host.name()
    answers = preflight.ask(allocation, request)
    found = list(preflight.problems(answers, versions(), here, request))
    if found:
        raise UsageError(
            f"--slurm: {len(found)} problem{'s'[: len(found) != 1]} on the {len(allocation.nodes)} nodes of job "
            f"{allocation.job_id}; nothing was started:\n" + "\n".join(f"  {problem}" for problem in found)
        )
    write_json(
        session.results / layout.NODE_FACTS, preflight.facts(answers, session.nonce, allocation.job_id)
    )
    if takes_all:
        return
    option = config.option
    option.dist, option.tx = "load", [worker_spec(allocation, node) for node in allocation.nodes]
    # xdist would start the replacement on the node that was lost.
    option.maxworkerrestart = "0"
    if option.basetemp is None:
        # Workers make their temporary folders below the controller's, which must therefore be on a shared file system.
        option.basetemp = str(session.results.parent / f".{session.results.name}.tmp")
        config.add_cleanup(lambda: shutil.rmtree(option.basetemp, ignore_errors=True))


def _takes_all_nodes(plan: Plan, allocation: Allocation) -> bool:
    """Whether the deployments run on several nodes each. Raises `UsageError` if only some do, or need more nodes."""
    together = {name: one.nodes for name, one in plan.deployments.items() if one.nodes is not UNSET}
    alone = plan.deployments.keys() - together.keys()
    if together and alone:
        raise UsageError(
            f"--slurm: the deployments {', '.join(sorted(together))} run on several nodes each, and "
            f"{', '.join(sorted(alone))} on one: give each kind a call of its own"
        )
    for name, nodes in together.items():
        require_nodes(plan.deployments[name].origin, nodes.count, allocation)
    return bool(together)


def worker_spec(allocation: Allocation, node: str) -> str:
    """Return the execnet specification of the xdist worker on `node`."""
    python = os.path.normpath(sys.executable)
    return f"popen//id={node}//python={shlex.join(allocation.step(node, [python]))}"


def _require_one_node_each(session: Session) -> None:
    """Raises `UsageError` for points that need several nodes, on which other points would run at the same time."""
    if wide := [point.id for point in session.plan.points if point.options.get("nodes", 1) > 1]:
        raise UsageError(
            f"--slurm: runs one point on each node at a time, and {', '.join(wide)} needs several nodes: run these "
            "suites in the allocation without --slurm"
        )


def _require_names(allocation: Allocation) -> None:
    """Raises `UsageError` if the name of a node is that of another process of a session."""
    if taken := {MAIN, RUN} & set(allocation.nodes):
        raise UsageError(
            f"--slurm: a node is named {', '.join(taken)}, as a log of the results folder is; leave it out with "
            "`salloc --exclude`"
        )
