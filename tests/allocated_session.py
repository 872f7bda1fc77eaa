"""Starts a session inside a Slurm allocation as a user starts it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def start_allocated(
    nodes: str, command: Sequence[str], *, cwd: Path, leases: Path, environ: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start `command` in an allocation of these nodes; without nodes, outside of any.

    `environ` is added to this process's own, without what pytest set. The output is a pipe, standard error included.
    """
    allocate = ["salloc", "--quiet", f"--nodelist={nodes}", f"--nodes={len(nodes.split(','))}", "--no-kill"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [*(allocate if nodes else []), *command],
        cwd=cwd,
        env={**kept, "COLUMNS": "200", "PYTEST_BENCH_LEASES": str(leases), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
