"""Runs a command to its end and measures the cost of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from pytest_bench.errors import LoadError

BENCH = Path(__file__).resolve().parent.parent / ".bench"
"""Folder of builds, peers and runs; ignored by git."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of one command, over all its processes."""

    cpu_s: float
    started_ns: int
    """CLOCK_MONOTONIC just before the command was started, and just after it ended."""
    ended_ns: int
    peak_bytes: int
    """Largest summed proportional set size; 0 if it was not sampled."""
    status: int
    timed_out: bool


def run(
    command: list[str],
    *,
    folder: Path,
    core: int | None = None,
    seconds: int = 600,
    memory: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run `command` in `folder`, on one core if asked, its output in `folder/output.txt`.

    Raises `LoadError` with the end of that output when it fails or takes longer than `seconds`.
    """
    tree = Path(__file__).with_name("tree.py")
    output = folder / "output.txt"
    with tempfile.TemporaryDirectory(dir=folder) as private, output.open("wb") as log:
        result = Path(private) / "cost.json"
        place = "-" if core is None else str(core)
        arguments = [str(result), str(seconds), str(int(memory)), place, *command]
        subprocess.run(
            [sys.executable, "-I", "-S", str(tree), *arguments],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )
        cost = msgspec.json.decode(result.read_bytes(), type=Cost)
    if cost.status != 0 or cost.timed_out:
        end = "\n".join(output.read_text(errors="replace").splitlines()[-15:])
        reason = f"took longer than {seconds} s" if cost.timed_out else f"ended with status {cost.status}"
        raise LoadError(f"{' '.join(command[:4])} …: {reason}; its output ended with\n{end}")
    return cost
