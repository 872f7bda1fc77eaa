"""The session: its plan, its nonce, its results folder, as every process of it knows them."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import msgspec
import pytest

from pytest_bench import clock
from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.plugin import folder, refusals
from pytest_bench.plugin.options import SIMULATOR, is_informational
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.suite.vocabulary import Vocabulary
from pytest_bench.verdict.events import Expectation
from pytest_bench.verdict.expectation import read_expectation

_OVERRIDES = (
    "--endpoint",
    "--served-model",
    "--api-key-env",
    "--tokenizer",
    "--load-seed",
    "--duration-scale",
)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One pytest run."""

    plan: Plan
    nonce: str
    results_path: str
    """Absolute."""
    root_path: str
    """What origins of points are relative to; absolute."""
    invocation: tuple[str, ...]
    started: str
    expectation: Expectation | None = None

    @property
    def results(self) -> Path:
        return Path(self.results_path)

    @property
    def root(self) -> Path:
        return Path(self.root_path)

    def points_of(self, suites: Path, kind: str) -> list[Point]:
        """The points of a kind that the suites in a folder declare, in the order of execution."""
        return [
            point for point in self.plan.points if point.kind == kind and self.suite_folder(point) == suites
        ]

    def suite_folder(self, point: Point) -> Path:
        """The folder of the suite that declares the point: its test functions live there."""
        return Path(self.plan.folder(point.suite))

    def suite_folders(self) -> set[Path]:
        return {Path(self.plan.folder(suite)) for suite in self.plan.deployments}

    def point_folder(self, point_id: str) -> Path:
        """Where the point's evidence lies."""
        return self.results / "points" / point_id

    def deployment_folder(self, suite: str) -> Path:
        """Where what belongs to a deployment rather than to a point lies."""
        return self.results / "deployments" / suite

    def rerun(self, point: Point) -> str:
        """The command that runs this point alone."""
        suites = os.path.relpath(self.suite_folder(point), self.root)
        return shlex.join(["pytest", suites, "-k", point.id, *self._given_overrides()])

    def _given_overrides(self) -> list[str]:
        kept: list[str] = []
        words = iter(self.invocation)
        for word in words:
            if word in _OVERRIDES:
                kept += [word, *([value] if (value := next(words, None)) is not None else [])]
            elif word.partition("=")[0] in _OVERRIDES:
                kept.append(word)
        return kept


HANDOVER_KEY = "inference_bench"
"""Where `workerinput` holds the session: xdist workers get it from nowhere else, YAML and environment included."""


def hand_over(session: Session) -> str:
    """The session as text for `workerinput`."""
    return msgspec.json.encode(session).decode()


def adopt_session(config: pytest.Config) -> Session | None:
    """The controller's session, in an xdist worker; None where the controller found no suites."""
    text = getattr(config, "workerinput", {}).get(HANDOVER_KEY)
    return None if text is None else msgspec.json.decode(text, type=Session)


def open_session(config: pytest.Config, files: Sequence[Path]) -> Session:
    """Plan the suites in `files`, and put red files in place.

    Raises `pytest.UsageError` (exit status 4) for anything wrong with suites, command line or folder; then
    whatever green files this call would have replaced are red.
    """
    informational = is_informational(config)
    nonce = secrets.token_hex(8)
    try:
        _refuse_namesake()
        words = vocabulary(all_apis(config.hook.pytest_bench_apis()))
        session = _plan(config, files, words, nonce)
        if not informational:
            refusals.refuse_dangerous_calls(config)
            refusals.refuse_shadows(config, session)
            refusals.refuse_missing_endpoints(config, session)
            refusals.refuse_bad_datasets(config, session, words.apis)
            folder.claim(config, session)
    except (BenchError, pytest.UsageError) as error:
        if not informational:
            folder.leave_red(config, nonce, str(error))
        raise pytest.UsageError(str(error)) from error
    return session


def _plan(config: pytest.Config, files: Sequence[Path], words: Vocabulary, nonce: str) -> Session:
    here = config.invocation_params.dir
    option = config.option
    return Session(
        plan=load_plan(files, words, _overrides(config), os.environ, root=here),
        nonce=nonce,
        results_path=str(folder.path_of(config, nonce)),
        root_path=os.path.normpath(here),
        invocation=tuple(map(str, config.invocation_params.args)),
        started=clock.utc_now(),
        expectation=read_expectation(here / option.expect) if option.expect else None,
    )


def _overrides(config: pytest.Config) -> Overrides:
    option = config.option
    endpoints = tuple(option.endpoint)
    if SIMULATOR in endpoints and len(endpoints) > 1:
        raise UsageError("--endpoint=simulator stands alone: it cannot be a replica of anything")
    return Overrides(
        endpoints=endpoints,
        served_model=option.served_model,
        api_key_env=option.api_key_env,
        tokenizer=option.tokenizer,
        load_seed=option.load_seed,
        duration_scale=option.duration_scale,
    )


def _refuse_namesake() -> None:
    """An ancient distribution `pytest-bench` ships the same import name: never run beside it."""
    try:
        found = distribution("pytest-bench")
    except PackageNotFoundError:
        return
    raise UsageError(
        f"the distribution pytest-bench {found.version} is installed and uses the same import name "
        "`pytest_bench`: uninstall it (pip uninstall pytest-bench), then install pytest-inference-bench again"
    )
