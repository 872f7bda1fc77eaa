"""Evals that could not be asked, told before anything is started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_bench.api import import_api
from pytest_bench.datasets.rows import load_dataset
from pytest_bench.errors import UsageError
from pytest_bench.evals.declared import ask, few_shots_dataset, row_of
from pytest_bench.suite.plan import Plan, Point

Rows = Sequence[Mapping[str, Any]]


def require_evals(plan: Plan, points: Iterable[Point]) -> None:
    """Render every item of the eval points among `points`.

    Raises `UsageError` for rows that a template cannot render, for fewer requests than a concurrency, for a dataset
    that cannot be read, and for prompts that the API does not take.
    """
    tables: dict[tuple[str, str], Rows] = {}
    problems: list[str] = []
    for point in points:
        if point.kind == "eval":
            try:
                _require(plan, point, tables)
            except UsageError as error:
                problems.append(str(error))
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))


def _require(plan: Plan, point: Point, tables: dict[tuple[str, str], Rows]) -> None:
    deployment = plan.deployments[point.suite]

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
        point, rows(point.dataset), rows(few_shots_dataset(point)), model=deployment.model, revision=None
    )
    row_of(asked.items[0], import_api(deployment.api, deployment.api_reference), point.origin)
