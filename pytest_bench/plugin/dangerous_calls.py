"""Refuses calls of pytest that could end green without proof, before collection."""

from __future__ import annotations

import sys

import pytest

from pytest_bench.errors import UsageError


def refuse_dangerous_calls(config: pytest.Config) -> None:
    """Raises `UsageError` with the danger and the remedy."""
    option = config.option
    if sys.flags.optimize or option.assertmode == "plain":
        _refuse(
            "python -O and --assert=plain let failing asserts pass",
            "run python without -O (and PYTHONOPTIMIZE), and pytest without --assert=plain",
        )
    if (
        getattr(option, "reruns", None)
        or _ini(config, "reruns")
        or getattr(option, "count", 1) not in (None, 1)
    ):
        _refuse("reruns hide failures: a point is measured once", "remove --reruns and --count")
    if not config.pluginmanager.hasplugin("junitxml"):
        _refuse("-p no:junitxml leaves CI without a JUnit file", "remove it")
    _refuse_lost_workers(config)


def _refuse_lost_workers(config: pytest.Config) -> None:
    # The values as given: xdist changes its own options before any plugin is configured.
    given = config.known_args_namespace
    distribution = "load" if getattr(given, "distload", False) else getattr(given, "dist", "no")
    tx, processes = getattr(given, "tx", None), getattr(given, "numprocesses", None)
    if given.slurm:
        _refuse_beside_slurm(config, tx, processes)
    if tx and processes is not None:
        _refuse(
            "-n overrides --tx: the workers named by --tx would not be used", "give only one of -n and --tx"
        )
    if tx and distribution == "no":
        _refuse(
            "--tx without --dist is ignored by xdist: everything would run on this machine", "add --dist load"
        )
    if distribution == "each":
        _refuse("--dist each runs every point once per worker", "use --dist load")


def _refuse_beside_slurm(config: pytest.Config, tx: object, processes: object) -> None:
    """--slurm decides which workers run where, and that none is replaced."""
    option = config.option
    given = {
        "-n": processes is not None,
        "--tx": tx,
        "--max-worker-restart": getattr(option, "maxworkerrestart", None) not in (None, "0"),
        "--pdb": option.usepdb,
        "-p no:xdist": not config.pluginmanager.hasplugin("xdist"),
    }
    if others := [name for name, is_given in given.items() if is_given]:
        _refuse("--slurm runs one xdist worker on every node", f"remove {', '.join(others)}")


def _refuse(danger: str, remedy: str) -> None:
    raise UsageError(f"refused: {danger}; {remedy}")


def _ini(config: pytest.Config, name: str) -> object:
    try:
        return config.getini(name)
    except ValueError:
        return None  # no plugin declares it
