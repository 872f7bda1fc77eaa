"""Joining a session: the controller plans and opens it; an xdist worker receives it from the controller."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from pytest_bench import host
from pytest_bench.catalogue import Requirements, all_apis, vocabulary
from pytest_bench.endpoints.headers import hide_secrets
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.files import file_digest, write_json
from pytest_bench.plugin import fixtures, options, selection
from pytest_bench.plugin.call import Call, error_line
from pytest_bench.plugin.dangerous_calls import refuse_dangerous_calls
from pytest_bench.plugin.items import Items
from pytest_bench.plugin.junit import JUnitCases
from pytest_bench.plugin.reports import Reports
from pytest_bench.plugin.selection import Selection
from pytest_bench.plugin.session import Session, adopt_session
from pytest_bench.results import layout
from pytest_bench.results.claim import Claim
from pytest_bench.results.event_log import EventLog
from pytest_bench.results.plan_file import write_plan
from pytest_bench.results.publish import write_verdict
from pytest_bench.scoring import Scorings, all_scorings
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.discovery import require_all_found
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.vocabulary import Vocabulary
from pytest_bench.verdict.events import Planned
from pytest_bench.verdict.expectation import read_expectation


def join_session(config: pytest.Config, call: Call) -> None:
    """Join the session of `call`. Raises `pytest.UsageError` (exit status 4) if it cannot be opened."""
    if call.is_worker:
        session = adopt_session(config)
        if session is not None:
            from pytest_bench.plugin.xdist import worker_log  # noqa: PLC0415 # an xdist worker has xdist

            hide_secrets(session.plan, os.environ)
            call.log = worker_log(config, session) if session.runs else None
            _register(config, call, session)
        return
    try:
        words = _vocabulary(config)
        session = _plan(config, call, words)
        selection.refuse_malformed(config)
        if session.runs:
            _open(config, call, session)
    except (BenchError, pytest.UsageError) as error:
        raise call.refuse(str(error)) from error
    except Exception as error:  # raised by another plugin's hook
        call.refuse(error_line(error))
        raise
    _register(config, call, session)
    requires = Requirements(session.plan, words.apis, _scorings(config), has_nodes=config.option.slurm)
    _register_controller(config, call, session, requires)


def _register(config: pytest.Config, call: Call, session: Session) -> None:
    config.pluginmanager.register(Items(config, call, session))
    config.pluginmanager.register(Reports(call, session))
    fixtures.set_up(config, session)
    config.pluginmanager.register(fixtures)


def _register_controller(config: pytest.Config, call: Call, session: Session, requires: Requirements) -> None:
    from pytest_bench.plugin.collecting import Collecting  # noqa: PLC0415 # workers do not need the imports
    from pytest_bench.plugin.controller import Controller  # noqa: PLC0415 # as above
    from pytest_bench.plugin.interrupts import SigtermAsInterrupt  # noqa: PLC0415 # as above

    register = config.pluginmanager.register
    if session.runs:
        register(SigtermAsInterrupt())
        register(Controller(config, call, session, requires))
        register(JUnitCases(config, call))
    else:
        config.option.xmlpath = None  # pytest would write a green file for a call that runs nothing
        if config.option.collectonly or config.option.setupplan:
            register(Collecting(session, requires))
    if config.pluginmanager.hasplugin("xdist"):
        from pytest_bench.plugin.xdist import Workers  # noqa: PLC0415 # xdist may be disabled with `-p no:xdist`

        register(Workers(call, session, requires, on_nodes=config.option.slurm))


def _open(config: pytest.Config, call: Call, session: Session) -> None:
    """Write the plan, and a verdict with every point red; with --slurm, check the nodes. Raises `BenchError`."""
    refuse_dangerous_calls(config)
    if call.log is not None and call.given is not None:
        record_plan(session, call.log, call.given, config.option, config.invocation_params.dir, call.claim)
    if config.option.slurm:
        from pytest_bench.plugin.slurm import spread_over_nodes  # noqa: PLC0415 # needed by few calls

        spread_over_nodes(config, session)


def record_plan(
    session: Session,
    log: EventLog,
    given: options.OptionSources,
    option: argparse.Namespace,
    here: Path,
    claim: Claim | None,
) -> None:
    """Write the plan and the environment, append `Planned`, and write a verdict with every point red.

    Raises `UsageError`. `claim` is None in a child of `pytest-bench run`: the parent holds the claim.
    """
    results = session.results
    expectation = read_expectation(here / option.expect) if option.expect else None
    try:
        if not (results / layout.PLAN).exists():
            write_plan(results, session.plan, session.nonce)
        if not (results / layout.ENVIRONMENT).exists():
            write_json(results / layout.ENVIRONMENT, host.environment(here, session.nonce))
        log.append(
            Planned(
                plan_digest=session.plan.digest(),
                complete=option.complete,
                expectation=expectation,
                accepted_labels=given.accepted_labels(option),
                files={name: file_digest(results / name) for name in (layout.PLAN, layout.ENVIRONMENT)},
                rerun={point.id: session.rerun(point) for point in session.plan.points},
            )
        )
        if claim is not None:
            claim.reserve(len(session.plan.points))
        write_verdict(results)
    except OSError as error:
        raise UsageError(
            f"--results: {error.filename or results}: {error.strerror}; name a writable folder with "
            "free space for a verdict"
        ) from error


def _vocabulary(config: pytest.Config) -> Vocabulary:
    _refuse_namesake()
    hook = config.hook
    return vocabulary(
        all_apis(hook.pytest_bench_apis()),
        list(chain.from_iterable(hook.pytest_bench_audits())),
        _scorings(config),
    )


def _scorings(config: pytest.Config) -> Scorings:
    return all_scorings(chain.from_iterable(config.hook.pytest_bench_scorers()))


def _plan(config: pytest.Config, call: Call, words: Vocabulary) -> Session:
    here = config.invocation_params.dir
    _require_all_found(config, call.suites)
    plan = load_plan(call.suites, words, overrides(config.option), os.environ, root=here)
    hide_secrets(plan, os.environ)
    return Session(
        plan=plan,
        nonce=call.nonce,
        results_path=str(call.results),
        root_path=os.path.normpath(here),
        selection=Selection.of(config),
        runs=not options.collects_only(config.option),
        rerun_options=call.given.rerun_options() if call.given else (),
        rerun_command=call.rerun_command,
    )


def _require_all_found(config: pytest.Config, files: Sequence[Path]) -> None:
    """Raises `SuiteError` for suites that this call would ignore."""
    here = config.invocation_params.dir
    # The condition under which pytest itself applies `testpaths`.
    applies = config.args_source is not pytest.Config.ArgsSource.ARGS and here == config.rootpath
    testpaths = config.getini("testpaths") if applies else []
    require_all_found(files, config.args, config.rootpath, testpaths, cwd=here)


def overrides(option: argparse.Namespace) -> Overrides:
    """Return the values that options override in suites. Raises `UsageError`."""
    endpoints = tuple(option.endpoint)
    if options.SIMULATOR in endpoints and len(endpoints) > 1:
        raise UsageError(
            "--endpoint=simulator must be the only --endpoint: the simulator cannot be a replica of another server"
        )
    if option.summary not in {None, options.VLLM}:
        raise UsageError(f"--summary {option.summary!r}: expected {options.VLLM}")
    return Overrides(
        endpoints=endpoints,
        served_model=option.served_model,
        api_key_env=option.api_key_env,
        tokenizer=option.tokenizer,
        load_seed=_number("--load-seed", option.load_seed, int, "a whole number"),
        data_seed=_number("--data-seed", option.data_seed, int, "a whole number"),
        ready_timeout_s=_number("--ready-timeout", option.ready_timeout, float, "a number of seconds"),
        eval_limit=_number("--eval-limit", option.eval_limit, int, "a whole number"),
        requests=_number("--requests", option.requests, int, "a whole number"),
        duration_scale=1.0
        if option.duration_scale is None
        else _number("--duration-scale", option.duration_scale, float, "a number") or 0.0,
    )


def _number(option: str, text: str | None, kind: type[Any], expected: str) -> Any:
    try:
        return None if text is None else kind(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: expected {expected}") from error


def _refuse_namesake() -> None:
    """Raises `UsageError` if the old distribution `pytest-bench`, which has the same import name, is installed."""
    try:
        found = distribution("pytest-bench")
    except PackageNotFoundError:
        return
    raise UsageError(
        f"the distribution pytest-bench {found.version} is installed and uses the same import name "
        "`pytest_bench`: uninstall it (pip uninstall pytest-bench), then install pytest-inference-bench again"
    )
