"""Load suite files into one plan, or raise one error with every problem of every file."""

from __future__ import annotations

import math
import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from pytest_bench.suite.context import Context, Overrides
from pytest_bench.suite.dataset_plans import plan_datasets
from pytest_bench.suite.deployments import check_endpoints, plan_deployment
from pytest_bench.suite.eval_deployment import OVERRIDES, by_deployment, name_of, plan_eval_deployment
from pytest_bench.suite.include import Reader
from pytest_bench.suite.limits import check_named
from pytest_bench.suite.plan import DatasetPlan, DeploymentPlan, Kind, Plan, Point
from pytest_bench.suite.points import PointPlanner
from pytest_bench.suite.problems import Mark, Problems
from pytest_bench.suite.schema import SuiteSection
from pytest_bench.suite.vocabulary import Vocabulary


def load_plan(
    files: Sequence[Path],
    vocabulary: Vocabulary,
    overrides: Overrides,
    environ: Mapping[str, str],
    *,
    root: Path,
) -> Plan:
    """Read the suites in `files`, in that order, and plan every point that they declare.

    `${VAR}` in values is expanded from `environ`. Positions and file names are shown relative to `root`.
    Reads the suites, the files that they include and the traces that they name, and computes the
    digest of each dataset file; it reads no rows. Raises `SuiteError` with all problems of all files.
    """
    root = Path(os.path.normpath(root.absolute()))
    problems = Problems()
    _check_overrides(overrides, problems)
    reader = Reader(root, environ, problems)
    deployments: dict[str, DeploymentPlan] = {}
    datasets: dict[str, dict[str, DatasetPlan]] = {}
    points: list[Point] = []
    named: dict[str, Mark] = {}
    digests: dict[Path, str | None] = {}
    for file in dict.fromkeys(Path(os.path.normpath(root / file)) for file in files):
        document = reader.read_suite(file)
        if document is None:
            continue
        context = Context(document, root, vocabulary, overrides, problems, environ, digests)
        section = context.check(SuiteSection, (), document.value)
        if section is None:
            section = _well_formed_parts(document.value)
        else:
            name, mark = section.suite, document.mark(("suite",))
            if name in named:
                problems.add(
                    mark, f"the suite {name!r} is also declared at {named[name]}; expected unique names"
                )
            named.setdefault(name, mark)
        _plan_suite(context, section, deployments, datasets, points)
    if overrides.data_seed is not None and not any(
        dataset.synthetic is not None for suite in datasets.values() for dataset in suite.values()
    ):
        problems.add(
            None,
            f"--data-seed is {overrides.data_seed}, but no dataset of these suites is synthetic; leave it out",
        )
    if problems:
        raise problems.error()
    return Plan(
        deployments=deployments,
        datasets=datasets,
        points=tuple(points),
        files=reader.digests,
        duration_scale=overrides.duration_scale,
        root=str(root),
    )


def _well_formed_parts(value: object) -> SuiteSection:
    """The well-formed parts of a malformed suite, so that their problems are reported too."""
    found = value if isinstance(value, dict) else {}
    sections: dict[str, Any] = {
        name: {key: part for key, part in found[name].items() if isinstance(part, dict)}
        for name in ("datasets", "named_bounds", *get_args(Kind))
        if isinstance(found.get(name), dict)
    }
    deployment = found.get("deployment")
    sections["deployment"] = deployment if isinstance(deployment, dict) else {}
    return SuiteSection.model_construct(None, suite="?", **sections)


def _plan_suite(
    context: Context,
    section: SuiteSection,
    deployments: dict[str, DeploymentPlan],
    datasets: dict[str, dict[str, DatasetPlan]],
    points: list[Point],
) -> None:
    """Add what a suite declares. Parts with problems are recorded and left out."""
    deployment = plan_deployment(context, section.suite, section.deployment) if section.deployment else None
    planner = PointPlanner(
        context,
        section.suite,
        None if deployment is None else deployment[1],
        plan_datasets(context, section.datasets),
        check_named(context, section.named_bounds),
    )
    makers = {"perf": planner.perf, "audit": planner.audit, "eval": planner.eval}
    declared: dict[str, dict[str, Any]] = {kind: dict(getattr(section, kind)) for kind in makers}
    overrides = declared["eval"].pop(OVERRIDES, None)
    # Perf points are planned first, whatever the order of execution, because audits refer to them.
    made: dict[str, list[Point]] = {
        kind: [point for name, value in declared[kind].items() for point in make(name, value)]
        for kind, make in makers.items()
    }
    value = context.document.value
    for kind in makers:
        if declared[kind] and kind not in section.order:
            context.problem(("order",), f"leaves out {kind!r}, which this suite declares")
    if isinstance(value, dict) and not any(value.get(kind) for kind in makers):
        context.problems.add(
            context.mark(()), "the suite declares no points; expected some under perf, audit or eval"
        )
    if deployment is not None:
        planned = [point for each in made.values() for point in each]
        served = not planned or any(point.needs_endpoint for point in planned)
        # An --endpoint is for the suites that need one.
        deployments[section.suite] = (
            deployment[0] if served else msgspec.structs.replace(deployment[0], endpoints=())
        )
    if overrides is not None:
        if not declared["eval"]:
            context.problem(("eval", OVERRIDES), "is for evals, and the suite declares none; leave it out")
        own = None
        if deployment is not None:
            own = plan_eval_deployment(context, section.suite, section.deployment, overrides)
        if own is not None:
            name = name_of(section.suite)
            deployments[name] = own
            made["eval"] = [msgspec.structs.replace(point, deployment=name) for point in made["eval"]]
    datasets[section.suite] = planner.datasets
    points.extend(by_deployment(point for kind in section.order for point in made[kind]))


def _check_overrides(overrides: Overrides, problems: Problems) -> None:
    check_endpoints(overrides.endpoints, None, "--endpoint", problems)
    scale, requests, ready_s = overrides.duration_scale, overrides.requests, overrides.ready_timeout_s
    if not (math.isfinite(scale) and scale > 0):
        problems.add(None, f"--duration-scale is {scale}; expected a finite number greater than 0")
    if requests is not None and not 1 <= requests <= 2**53:
        problems.add(None, f"--requests is {requests}; expected a whole number greater than 0")
    if overrides.eval_limit is not None and not 1 <= overrides.eval_limit <= 2**53:
        problems.add(None, f"--eval-limit is {overrides.eval_limit}; expected a whole number greater than 0")
    for option, seed in (("--load-seed", overrides.load_seed), ("--data-seed", overrides.data_seed)):
        if seed is not None and not 0 <= seed < 2**64:
            problems.add(None, f"{option} is {seed}; expected a whole number from 0 to 2^64 - 1")
    if ready_s is not None and not 0 <= ready_s < math.inf:
        problems.add(None, f"--ready-timeout is {ready_s}; expected a number of seconds, 0 or more")
    for option, value in (
        ("--served-model", overrides.served_model),
        ("--api-key-env", overrides.api_key_env),
        ("--tokenizer", overrides.tokenizer),
    ):
        if value == "":
            problems.add(None, f"{option} is empty; expected a value, or leave the option out")
