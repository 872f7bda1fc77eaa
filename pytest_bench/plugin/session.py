"""The session: its plan, its nonce, its results folder, and the files that are red until it has ended well."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import msgspec
import pytest

from pytest_bench import clock, host
from pytest_bench.errors import BenchError, SuiteError
from pytest_bench.files import write_json
from pytest_bench.plugin import junit
from pytest_bench.plugin.options import is_informational, overrides
from pytest_bench.plugin.refusals import refuse_dangerous_calls, refuse_missing_endpoints
from pytest_bench.plugin.vocabulary import known_apis, vocabulary
from pytest_bench.suite.discovery import discover
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Reason
from pytest_bench.verdict.verdict import born_red, read_verdict, refusal, write_verdict

VERDICT = "verdict.json"
PLAN = "plan.json"
ENVIRONMENT = "environment.json"


@dataclass
class Session:
    """One pytest run, as every process of it knows it."""

    plan: Plan
    nonce: str
    results: Path
    root: Path
    """What origins of points are relative to."""
    invocation: tuple[str, ...]
    started: str
    deployments_folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.deployments_folder = self.results / "deployments"

    def points_of(self, folder: Path, kind: str) -> list[Point]:
        """The points of a kind that the suites of `folder` declare, in the order of execution."""
        return [
            point for point in self.plan.points if point.kind == kind and self.suite_folder(point) == folder
        ]

    def suite_folder(self, point: Point) -> Path:
        """The folder of the suite that declares the point: its test functions live there."""
        deployment = self.plan.deployments[point.suite]
        return (self.root / deployment.origin.rpartition(":")[0].rpartition(":")[0]).parent

    def rerun(self, point: Point) -> str:
        """The command that runs this point alone."""
        kept = [
            word
            for word in self.invocation
            if word.startswith(("--endpoint", "--served-model", "--tokenizer"))
        ]
        folder = os.path.relpath(self.suite_folder(point))
        return " ".join(["pytest", f"'{folder}'" if " " in folder else folder, "-k", f"'{point.id}'", *kept])


class _Handover(msgspec.Struct):
    """What the controller tells xdist workers: never YAML, never the environment."""

    plan: Plan
    nonce: str
    results: str
    root: str
    invocation: tuple[str, ...]
    started: str


def hand_over(session: Session) -> str:
    """The session as text for `workerinput`."""
    return msgspec.json.encode(
        _Handover(
            plan=session.plan,
            nonce=session.nonce,
            results=str(session.results),
            root=str(session.root),
            invocation=session.invocation,
            started=session.started,
        )
    ).decode()


HANDOVER_KEY = "inference_bench"


def adopt_session(config: pytest.Config) -> Session | None:
    """The controller's session, in an xdist worker; None where the controller found no suites."""
    text = getattr(config, "workerinput", {}).get(HANDOVER_KEY)
    if text is None:
        return None
    given = msgspec.json.decode(text, type=_Handover)
    return Session(
        plan=given.plan,
        nonce=given.nonce,
        results=Path(given.results),
        root=Path(given.root),
        invocation=given.invocation,
        started=given.started,
    )


def open_session(config: pytest.Config) -> Session | None:
    """Find and plan the suites of this call, and put red files in place; None where there are no suites.

    Raises `pytest.UsageError` (exit status 4) for anything wrong with suites, command line or folder.
    """
    _refuse_namesake()
    folder = config.invocation_params.dir
    files = discover(config.args, config.rootpath, config.getini("testpaths"), cwd=folder)
    if not files:
        return None
    try:
        words = vocabulary(known_apis(config))
        plan = load_plan(files, words, overrides(config), os.environ, root=folder)
    except SuiteError as error:
        raise pytest.UsageError(str(error)) from error
    nonce = secrets.token_hex(8)
    session = Session(
        plan=plan,
        nonce=nonce,
        results=_results_folder(config, nonce),
        root=folder,
        invocation=tuple(map(str, config.invocation_params.args)),
        started=clock.utc_now(),
    )
    if is_informational(config):
        return session
    refuse_dangerous_calls(config)
    refuse_missing_endpoints(config, session)
    try:
        _claim(config, session)
    except (OSError, BenchError) as error:
        raise pytest.UsageError(f"--results: {session.results}: {error}; name another folder") from error
    return session


def versions() -> dict[str, str]:
    """What measured and judged: for the verdict."""
    return {
        name: version(name)
        for name in ("pytest-inference-bench", "pytest", "pytest-xdist", "tokenizers", "fastokens")
    }


def _results_folder(config: pytest.Config, nonce: str) -> Path:
    given = config.option.results
    if given:
        return Path(config.invocation_params.dir, given).absolute()
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return config.invocation_params.dir / "results" / f"{stamp}-{nonce[:8]}"


def _claim(config: pytest.Config, session: Session) -> None:
    """Make the results folder ours, and red."""
    results = session.results
    if results.is_dir() and any(results.iterdir()):
        _set_aside(session)
    results.mkdir(parents=True, exist_ok=True)
    write_json(
        results / PLAN, {"digest": session.plan.digest(), "nonce": session.nonce, "plan": session.plan}
    )
    write_verdict(
        results / VERDICT,
        born_red(
            nonce=session.nonce,
            point_ids=tuple(point.id for point in session.plan.points),
            plan_digest=session.plan.digest(),
            complete_required=config.option.complete,
            versions=versions(),
            invocation=session.invocation,
            started=session.started,
        ),
    )
    write_json(results / ENVIRONMENT, host.describe(config.invocation_params.dir))
    if config.option.xmlpath is None:
        config.option.xmlpath = str(results / "junit.xml")
    path = (config.invocation_params.dir / config.option.xmlpath).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    junit.write_red(path, [point.id for point in session.plan.points])
    if config.option.results is None:
        _point_latest(results)


def _set_aside(session: Session) -> None:
    """A used folder: put a red verdict in place of its own, which is kept, and refuse."""
    verdict = session.results / VERDICT
    reason = (
        f"{session.results} holds the results of another session; name a new folder, or leave --results out"
    )
    if verdict.exists():
        try:
            aside = f"verdict.{read_verdict(verdict).nonce}.json"
        except BenchError:
            aside = f"verdict.unreadable-{session.nonce}.json"
        verdict.rename(session.results / aside)
        write_verdict(
            verdict,
            refusal(
                nonce=session.nonce, reasons=(Reason("used-folder", reason),), invocation=session.invocation
            ),
        )
        reason += f" (its verdict is now {aside})"
    raise pytest.UsageError(f"--results: {reason}")


def _point_latest(results: Path) -> None:
    """Let `results/latest` point at this session. A link that appears whole or not at all."""
    temporary = results.parent / f".latest.{results.name}"
    temporary.symlink_to(results.name, target_is_directory=True)
    temporary.replace(results.parent / "latest")


def _refuse_namesake() -> None:
    """An ancient distribution `pytest-bench` ships the same import name: never run beside it."""
    try:
        found = distribution("pytest-bench")
    except PackageNotFoundError:
        return
    raise pytest.UsageError(
        f"the distribution pytest-bench {found.version} is installed and uses the same import name "
        "`pytest_bench`: uninstall it (pip uninstall pytest-bench), then install pytest-inference-bench again"
    )
