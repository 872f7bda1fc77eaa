"""The Slurm allocation that this process runs in, and the command of a step on one of its nodes."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence

import msgspec

from pytest_bench.errors import UsageError

JOB_ID, NODE_LIST = "SLURM_JOB_ID", "SLURM_JOB_NODELIST"

_TOOL_TIMEOUT_S = 30.0
_START_TIMEOUT_S = 60
_NODE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """The nodes of a Slurm job."""

    job_id: str
    nodes: tuple[str, ...]

    def step(self, node: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` as one task on `node`, with all of the job's resources there.

        Its standard streams are those of the task. It ends when the task ends or its standard input is closed.
        """
        return [
            "srun",
            "--quiet",
            "--unbuffered",  # otherwise srun holds back output until a newline
            "--nodes=1",
            "--ntasks=1",
            f"--nodelist={node}",
            "--overlap",  # the job's other steps use the same resources
            "--cpu-bind=none",
            "--mpi=none",
            "--no-kill",  # another node's failure does not end this step
            f"--immediate={_START_TIMEOUT_S}",
            # Explicit, because the defaults of a site may differ.
            "--kill-on-bad-exit=1",
            "--wait=0",
            "--export=ALL",
            *command,
        ]

    def joint_step(self, count: int, wait_s: float, command: Sequence[str]) -> list[str]:
        """Return the command that runs `command` as one task on each of the first `count` nodes, as one step.

        Each task gets what is written to its standard input, and ends when that is closed. Lines of their outputs are
        not mixed. A task that ends does not end the others, whatever its exit status: they end one another, and need
        time to remove what they have started; `wait_s` after the first, Slurm kills those that are left.
        """
        return [
            "srun",
            "--quiet",
            f"--nodes={count}",
            f"--ntasks={count}",
            "--ntasks-per-node=1",
            f"--nodelist={','.join(self.nodes[:count])}",
            "--overlap",
            "--cpu-bind=none",
            "--mpi=none",
            "--no-kill",
            "--input=all",
            f"--immediate={_START_TIMEOUT_S}",
            "--kill-on-bad-exit=0",
            f"--wait={math.ceil(wait_s)}",
            "--export=ALL",
            *command,
        ]


def require_nodes(origin: str, count: int, allocation: Allocation) -> None:
    """Raises `UsageError` if the allocation has fewer than `count` nodes, which the deployment at `origin` needs."""
    if count > len(allocation.nodes):
        raise UsageError(
            f"{origin}: the deployment needs {count} nodes, but job {allocation.job_id} has {len(allocation.nodes)} "
            f"({', '.join(allocation.nodes)}): allocate {count} with `salloc --nodes {count}`"
        )


def read_allocation(environ: Mapping[str, str], wanted_by: str = "--slurm") -> Allocation:
    """Return the allocation that the environment names. Raises `UsageError` outside of one.

    Runs `scontrol`, which expands the list of nodes. `wanted_by` begins the messages.
    """
    unset = [name for name in (JOB_ID, NODE_LIST) if not environ.get(name)]
    if unset:
        how = "`salloc --nodes N --no-kill pytest ...`"
        if wanted_by == "--slurm":
            how = f"{how[:-1]} --slurm`, or with `pytest-bench slurm submit`"
        raise UsageError(
            f"{wanted_by}: {' and '.join(unset)}: not set, so this is not inside a Slurm allocation; "
            f"start it with {how}"
        )
    scontrol, srun = shutil.which("scontrol"), shutil.which("srun")
    if scontrol is None or srun is None:
        raise UsageError(
            f"{wanted_by}: scontrol or srun is not on PATH; install Slurm's client commands on this node"
        )
    listed = environ[NODE_LIST]
    try:
        done = subprocess.run(
            [scontrol, "show", "hostnames", listed],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{wanted_by}: `scontrol show hostnames {listed}` failed: {error}") from error
    nodes = tuple(done.stdout.split())
    if done.returncode != 0 or not nodes or not all(map(_NODE.fullmatch, nodes)):
        raise UsageError(
            f"{wanted_by}: {NODE_LIST}={listed}: expected a list of nodes; `scontrol show hostnames` answers "
            f"{(done.stderr or done.stdout).strip()!r} with status {done.returncode}"
        )
    return Allocation(job_id=environ[JOB_ID], nodes=nodes)
