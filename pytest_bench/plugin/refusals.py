"""Calls that could end green without proof, refused before anything is started."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pytest

from pytest_bench.datasets.rows import load_dataset
from pytest_bench.datasets.synthetic import check_declared
from pytest_bench.errors import DatasetError, UsageError
from pytest_bench.plugin import shadows
from pytest_bench.plugin.expressions import compile_expression
from pytest_bench.plugin.selection import likely_selected
from pytest_bench.suite.deployments import endpoint_problem
from pytest_bench.suite.plan import Point
from pytest_bench.suite.vocabulary import ApiWords
from pytest_bench.tokens.source import find

if TYPE_CHECKING:
    from pytest_bench.plugin.session import Session


def refuse_dangerous_calls(config: pytest.Config) -> None:
    """Raises `UsageError` naming the danger and the right call."""
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
        _refuse("reruns hide failures: a point is measured once", "leave --reruns and --count out")
    if not config.pluginmanager.hasplugin("junitxml"):
        _refuse("-p no:junitxml leaves CI without the file that it reads", "leave it out")
    _refuse_lost_workers(config)


def refuse_malformed_expressions(config: pytest.Config) -> None:
    """Raises `UsageError` saying what is wrong with `-k` or `-m`."""
    option = config.option
    for name, text, is_marker in (("-k", option.keyword, False), ("-m", option.markexpr, True)):
        try:
            compile_expression(text, whole_words=is_marker)
        except ValueError as error:
            raise UsageError(f"{name} {text!r}: {error}") from error


def _refuse_lost_workers(config: pytest.Config) -> None:
    # As the user wrote it: xdist rewrites its own options before anybody is configured.
    written = config.known_args_namespace
    distribution = "load" if getattr(written, "distload", False) else getattr(written, "dist", "no")
    tx, processes = getattr(written, "tx", None), getattr(written, "numprocesses", None)
    if tx and processes is not None:
        _refuse("-n replaces --tx: the workers you named would not be used", "give one of -n and --tx")
    if tx and distribution == "no":
        _refuse(
            "--tx without --dist is ignored by xdist: everything would run on this machine", "add --dist load"
        )
    if distribution == "each":
        _refuse("--dist each runs every point once for each worker", "use --dist load")


def refuse_shadows(config: pytest.Config, session: Session) -> None:
    """Raises `UsageError` naming every fixture that would stand in for one of ours."""
    found = shadows.shadowing(
        session.suite_folders(),
        config.rootpath,
        config.getini("python_files"),
        conftests=not config.option.noconftest,
    )
    if sentences := list(found):
        raise UsageError("\n".join(sentences))


def refuse_missing_endpoints(config: pytest.Config, session: Session) -> None:
    """Raises `UsageError` where a deployment that is asked for has no endpoint."""
    problems = {
        name: problem
        for name, deployment in session.plan.deployments.items()
        if (problem := endpoint_problem(deployment))
    }
    wanted = {point.suite for point in likely_selected(config, session.plan.points)}
    if needed := [problems[name] for name in problems if name in wanted]:
        raise UsageError("\n".join(needed))


def refuse_bad_datasets(config: pytest.Config, session: Session, apis: Mapping[str, ApiWords]) -> None:
    """Raises `DatasetError` for every dataset that a point that is asked for needs, and that cannot be had: a
    file with bad rows, or none; made-up rows that cannot be made."""
    plan = session.plan
    wanted: dict[tuple[str, str, bool], Point] = {}
    for point in likely_selected(config, plan.points):
        if point.dataset is not None:
            wanted.setdefault((point.suite, point.dataset, point.kind == "eval"), point)
    complaints: list[str] = []
    for (suite, name, is_eval), point in wanted.items():
        dataset, deployment = plan.datasets[suite][name], plan.deployments[suite]
        api = apis[deployment.api]
        columns = None if is_eval else api.columns
        required = frozenset[str]() if is_eval else api.required
        try:
            if dataset.synthetic is None:
                load_dataset(dataset, columns=columns, required=required, tokenizer=None)
            else:
                named, model = deployment.tokens.tokenizer, deployment.tokenizer_model
                in_tokens = find(named, model, plan.folder(suite)) is not None
                check_declared(name, dataset.synthetic, columns, in_tokens=in_tokens)
        except DatasetError as error:
            # A file's complaint names its line; made-up rows have only the point that asks for them.
            complaints.append(str(error) if dataset.synthetic is None else f"{point.origin}: {error}")
    if complaints:
        raise DatasetError("\n".join(complaints))


def _refuse(danger: str, remedy: str) -> None:
    raise UsageError(f"refused: {danger}; {remedy}")


def _ini(config: pytest.Config, name: str) -> object:
    try:
        return config.getini(name)
    except ValueError:
        return None  # no plugin knows it
