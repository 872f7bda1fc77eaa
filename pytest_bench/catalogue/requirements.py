"""Whether everything that points need is available, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from msgspec import UNSET

from pytest_bench.catalogue.containers import require_containers
from pytest_bench.catalogue.evals import require_evals
from pytest_bench.catalogue.impossible import require_possible
from pytest_bench.catalogue.tokenizers import require_tokenizers
from pytest_bench.datasets.rows import load_dataset
from pytest_bench.datasets.synthetic import check_declared
from pytest_bench.errors import DatasetError, UsageError
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.deployments import endpoint_problem
from pytest_bench.suite.eval_deployment import one_server_for_two
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.suite.vocabulary import ApiWords
from pytest_bench.tokens.source import find


class Requirements:
    """Checks that everything the selected points need is available."""

    def __init__(
        self,
        plan: Plan,
        apis: Mapping[str, ApiWords],
        scorings: Scorings = SCORINGS,
        *,
        has_nodes: bool = False,
    ) -> None:
        """`has_nodes`: whether the session uses the nodes of a Slurm allocation."""
        self._plan = plan
        self._has_nodes = has_nodes
        self._apis = apis
        self._scorings = scorings

    def check(self, selected: Collection[str], *, offline: bool = False) -> None:
        """Raises `UsageError` if something that the points with these ids need is missing.

        With `offline`, endpoints are not required, and tokenizers that the hub may have are not fetched.
        """
        points = [point for point in self._plan.points if point.id in selected]
        if not offline:
            self._require_endpoints(points)
        require_possible(self._plan, points)
        require_tokenizers(self._plan, points, offline=offline)
        self._require_datasets(points)
        require_evals(self._plan, points, self._scorings)
        require_containers(self._plan, points, os.environ, offline=offline)

    def _require_endpoints(self, points: Collection[Point]) -> None:
        names = dict.fromkeys(point.deployment_name for point in points)
        served = [self._plan.deployments[name] for name in names if self._plan.needs_endpoint(name)]
        problems = [endpoint_problem(deployment) for deployment in served]
        problems += [self._nodes_problem(deployment) for deployment in served]
        if needed := [problem for problem in problems if problem]:
            raise UsageError("\n".join(dict.fromkeys(needed)))
        if contradictions := one_server_for_two(self._plan, points):
            raise UsageError("\n".join(contradictions))

    def _nodes_problem(self, deployment: DeploymentPlan) -> str | None:
        if self._has_nodes or deployment.nodes is UNSET:
            return None
        count = deployment.nodes.count
        return (
            f"{deployment.origin}: the deployment of suite {deployment.suite!r} runs on {count} nodes: call pytest "
            f"with --slurm inside a Slurm allocation, as in `salloc --nodes {count} pytest ... --slurm`"
        )

    def _require_datasets(self, points: Collection[Point]) -> None:
        """Raises `DatasetError` for missing files, invalid rows, and rows that cannot be generated."""
        plan = self._plan
        wanted: dict[tuple[str, str, bool], Point] = {}
        for point in points:
            if point.dataset is not None:
                wanted.setdefault((point.suite, point.dataset, point.kind == "eval"), point)
        problems: list[str] = []
        for (suite, name, is_eval), point in wanted.items():
            dataset, deployment = plan.datasets[suite][name], plan.deployment_of(point)
            api = self._apis[deployment.api]
            columns = None if is_eval else api.columns
            required = frozenset[str]() if is_eval else api.required
            try:
                if dataset.synthetic is None:
                    load_dataset(dataset, columns=columns, required=required, tokenizer=None)
                else:
                    named, model = deployment.tokens.tokenizer, deployment.tokenizer_model
                    # A named one is there: `require_tokenizers` was called before.
                    in_tokens = named is not None or find(None, model, plan.folder(suite)) is not None
                    check_declared(name, dataset.synthetic, columns, in_tokens=in_tokens)
            except DatasetError as error:
                # An error in a file names its line; for generated rows, name the point that uses them.
                problems.append(str(error) if dataset.synthetic is None else f"{point.origin}: {error}")
        if problems:
            raise DatasetError("\n".join(problems))
