"""Refuses evals whose requests cannot be sent, before anything is started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_bench.api import import_api
from pytest_bench.datasets.rows import load_dataset
from pytest_bench.errors import UsageError
from pytest_bench.evals.declared import ask, few_shots_dataset, row_of
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.command_evals import is_command, secrets_of
from pytest_bench.suite.plan import Plan, Point

Rows = Sequence[Mapping[str, Any]]


def require_evals(plan: Plan, points: Iterable[Point], scorings: Scorings = SCORINGS) -> None:
    """Render every item of the eval points among `points`, and look for the programs and keys of their commands.

    Raises `UsageError` for a program or key that is missing, for rows that a template cannot render, for fewer requests
    than a concurrency, for a dataset that cannot be read, and for prompts that the API does not take.
    """
    tables: dict[tuple[str, str], Rows] = {}
    problems: list[str] = []
    for point in points:
        if point.kind == "eval":
            try:
                if is_command(point):
                    _require_command(plan, point)
                else:
                    _require(plan, point, tables, scorings)
            except UsageError as error:
                problems.append(str(error))
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))


def _require(plan: Plan, point: Point, tables: dict[tuple[str, str], Rows], scorings: Scorings) -> None:
    deployment = plan.deployment_of(point)

    def rows(name: str | None) -> Rows:
        if name is None:
            return ()
        key = (point.suite, name)
        if key not in tables:
            dataset = plan.datasets[point.suite][name]
            if dataset.synthetic is not None:
                raise UsageError(
                    f"{point.origin}: dataset {name!r} is synthetic; an eval needs questions and answers"
                )
            loaded = load_dataset(dataset, columns=None, required=frozenset(), tokenizer=None)
            tables[key] = loaded.rows
        return tables[key]

    asked = ask(
        point,
        rows(point.dataset),
        rows(few_shots_dataset(point)),
        model=deployment.model,
        revision=None,
        scorings=scorings,
    )
    row_of(asked.items[0], import_api(deployment.api, deployment.api_reference), point.origin)


def _require_command(plan: Plan, point: Point) -> None:
    if point.needs_endpoint and len(plan.deployment_of(point).endpoints) > 1:
        raise UsageError(f"{point.origin}: a command takes one endpoint; the deployment has several")
    program = point.options["command"][0]
    in_folder = Path(plan.folder(point.suite)) / program
    # Programs of other nodes are looked for there.
    is_here = point.options.get("nodes", 1) == 1
    if is_here and not (in_folder.is_file() if "/" in program else shutil.which(program)):
        where = in_folder.parent if "/" in program else "any folder of PATH"
        raise UsageError(
            f"{point.origin}: the program {program!r} of its command is not in {where}; install it"
        )
    for _, secret in secrets_of([point]):
        if not os.environ.get(secret.from_env):
            raise UsageError(
                f"{point.origin}: the environment variable {secret.from_env}, which its command needs, is not set or "
                "is empty: export it"
            )
