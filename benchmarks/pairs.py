"""Cost of a request and an event compared with an earlier commit of this repository, in pairs.

The earlier engine runs from a work tree of its own, with this interpreter and against the same server.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.clients import OURS, Client, Cores, driven
from benchmarks.figures import Table
from benchmarks.load import CONNECTIONS, cpu_per_request_us
from benchmarks.process import BENCH
from benchmarks.server import EVENTS
from pytest_bench.errors import UsageError

_ROOT = Path(__file__).resolve().parent.parent
_FREE_PLACES = ("_SHARE_AT_ONCE = 16\n", "_SHARE_AT_ONCE = 1 << 30\n")
"""A rule of earlier engines that trades requests in flight for CPU: a load worker without idle time left one slot in
sixteen empty until several requests could leave together. It is switched off, so that like is compared with like."""


def work_tree(revision: str) -> Path:
    """A checkout of `revision`, made once. Raises `UsageError` if git has none."""
    found = _git("rev-parse", "--verify", f"{revision}^{{commit}}").strip()
    tree = BENCH / f"base-{found[:12]}"
    if not tree.exists():
        BENCH.mkdir(exist_ok=True)
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(tree), found)
        backlog = tree / "pytest_bench/load/backlog.py"
        if backlog.exists():
            backlog.write_text(backlog.read_text(encoding="utf-8").replace(*_FREE_PLACES), encoding="utf-8")
    return tree


def _git(*arguments: str) -> str:
    command = [shutil.which("git") or "git", "-C", str(_ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def paced(table: Table, streams: int, waves: int, cores: Cores, base: Path, *, number: int) -> None:
    """One pair: `waves` times `streams` paced streams. `number` of the repetition, whose parity says who is first."""
    cpu = {
        client.name: _cpu_us(client, streams, streams, waves * streams, cores, paced=True) / EVENTS
        for client in _in_turn(base, number)
    }
    _add(table, f"{streams:,} streams at 100 events/s, pairs", "CPU per event", cpu, "<= 1.25")


def at_once(table: Table, requests: int, cores: Cores, base: Path, *, number: int) -> None:
    """One pair: `requests` responses of 128 events sent at once."""
    few = max(CONNECTIONS, requests // 20)
    cpu = {
        client.name: _cpu_us(client, CONNECTIONS, few, requests, cores, paced=False)
        for client in _in_turn(base, number)
    }
    _add(table, f"{requests:,} requests, {EVENTS} events at once, pairs", "CPU per request", cpu, "<= 1.1")


def _in_turn(base: Path, number: int) -> list[Client]:
    pair = [OURS, Client("base", OURS.command, {"PYTHONPATH": str(base)})]
    return pair if number % 2 else pair[::-1]


def _cpu_us(client: Client, connections: int, few: int, many: int, cores: Cores, *, paced: bool) -> float:
    """CPU time of one request, without start-up."""
    with driven(client, connections, few, paced=paced, cores=cores) as short:
        pass
    with driven(client, connections, many, paced=paced, cores=cores) as full:
        return cpu_per_request_us(client, short, full)


def _add(table: Table, work: str, what: str, cpu: dict[str, float], bar: str) -> None:
    for name, value in cpu.items():
        table.add(work, f"{name}: {what}", "us", value)
    table.add(work, f"{what}, ours / base", "ratio", cpu[OURS.name] / cpu["base"], bar)
