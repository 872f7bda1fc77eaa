"""Calls that could end green without proof, refused before anything is written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pytest_bench.plugin import selection
from pytest_bench.suite.deployments import endpoint_problem

if TYPE_CHECKING:
    from pytest_bench.plugin.session import Session


def refuse_dangerous_calls(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` naming the danger and the right call."""
    option = config.option
    if sys.flags.optimize or option.assertmode == "plain":
        _refuse(
            "python -O and --assert=plain let failing asserts pass",
            "run python without -O and pytest without --assert=plain",
        )
    if getattr(option, "reruns", None):
        _refuse("--reruns hides failures: a point is measured once", "leave --reruns out")
    # As the user wrote it: xdist rewrites its own options before anybody is configured.
    written = config.known_args_namespace
    distribution = getattr(written, "dist", "no")
    tx, processes = getattr(written, "tx", None), getattr(written, "numprocesses", None)
    if tx and processes is None and distribution == "no":
        _refuse(
            "--tx without --dist is ignored by xdist: everything would run on this machine", "add --dist load"
        )
    if tx and processes is not None:
        _refuse("-n replaces --tx: the workers you named would not be used", "give one of -n and --tx")
    if distribution == "each":
        _refuse("--dist each runs every point once for each worker", "use --dist load")
    for name, text in (("-k", option.keyword), ("-m", option.markexpr)):
        try:
            selection.compile_expression(text)
        except ValueError as error:
            raise pytest.UsageError(f"{name} {text!r}: {error}") from error


def refuse_missing_endpoints(config: pytest.Config, session: Session) -> None:
    """Raises `pytest.UsageError` where a deployment that is asked for has no endpoint."""
    problems = {
        name: problem
        for name, deployment in session.plan.deployments.items()
        if (problem := endpoint_problem(deployment))
    }
    if not problems:
        return
    wanted = selection.likely_selected(config, session.plan.points)
    needed = [problems[name] for name in problems if any(point.suite == name for point in wanted)]
    if needed:
        raise pytest.UsageError("\n".join(needed))


def _refuse(danger: str, remedy: str) -> None:
    raise pytest.UsageError(f"refused: {danger}; {remedy}")
