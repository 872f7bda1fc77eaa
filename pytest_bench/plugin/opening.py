"""How a session is opened: suites found are planned, bad calls refused, the results folder claimed.

Only the process that was called opens one; xdist workers adopt theirs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain
from pathlib import Path

import pytest

from pytest_bench import clock
from pytest_bench.catalogue import all_apis, require_possible, require_tokenizers, vocabulary
from pytest_bench.endpoints.headers import hide_secrets
from pytest_bench.errors import BenchError, UsageError
from pytest_bench.plugin import folder, refusals
from pytest_bench.plugin.options import SIMULATOR, is_informational
from pytest_bench.plugin.outermost import told
from pytest_bench.plugin.selection import likely_selected
from pytest_bench.plugin.session import Session
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.discovery import require_all_found
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.vocabulary import Vocabulary
from pytest_bench.verdict.expectation import read_expectation


def open_session(config: pytest.Config, files: Sequence[Path], nonce: str) -> Session:
    """Plan the suites in `files`, and put red files in place.

    Raises `pytest.UsageError` (exit status 4) for anything wrong with suites, command line or folder. Whatever
    is raised, others' hooks included: green files that this call would have replaced are red.
    """
    informational = is_informational(config.option)
    try:
        _refuse_namesake()
        hook = config.hook
        words = vocabulary(
            all_apis(hook.pytest_bench_apis()), list(chain.from_iterable(hook.pytest_bench_audits()))
        )
        _require_all_found(config, files)
        session = _plan(config, files, words, nonce)
        hide_secrets(session.plan, os.environ)
        refusals.refuse_malformed_expressions(config)
        if not informational:
            refusals.refuse_dangerous_calls(config)
            refusals.refuse_shadows(config, session)
            refusals.refuse_missing_endpoints(config, session)
            require_possible(session.plan, likely_selected(config, session.plan.points))
            require_tokenizers(session.plan, likely_selected(config, session.plan.points))
            refusals.refuse_bad_datasets(config, session, words.apis)
            folder.claim(config, session)
    except BaseException as error:
        foreseen = isinstance(error, (BenchError, pytest.UsageError))
        if not informational:
            folder.leave_red(config, nonce, str(error) if foreseen else told(error))
        if foreseen:
            raise pytest.UsageError(
                f"{error}{'' if informational else folder.told_of_kept(config)}"
            ) from error
        raise
    return session


def _require_all_found(config: pytest.Config, files: Sequence[Path]) -> None:
    """Raises `SuiteError` for suites that this call would pass over."""
    here = config.invocation_params.dir
    # As pytest itself decides whether `testpaths` apply.
    applies = config.args_source is not pytest.Config.ArgsSource.ARGS and here == config.rootpath
    testpaths = config.getini("testpaths") if applies else []
    require_all_found(files, config.args, config.rootpath, testpaths, cwd=here)


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
        data_seed=option.data_seed,
        ready_timeout_s=option.ready_timeout,
        duration_scale=option.duration_scale,
        requests=option.requests,
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
