"""Find and plan suites, for commands that read them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.cli.contributions import add_plugin_argument, contributions
from pytest_bench.errors import UsageError
from pytest_bench.scoring import all_scorings
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.discovery import discover, require_all_found
from pytest_bench.suite.loading import load_plan
from pytest_bench.suite.plan import Plan
from pytest_bench.suite.vocabulary import Vocabulary


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    add_plugin_argument(parser)
    parser.add_argument(
        "--api", action="append", default=[], metavar="NAME=MODULE:CLASS", help="an API of a third party"
    )
    parser.add_argument("suites", nargs="+", metavar="PATH", help="folders of suites, as given to pytest")
    parser.add_argument("--endpoint", action="append", default=[], metavar="URL", help="as given to pytest")
    parser.add_argument("--served-model", metavar="NAME", help="as given to pytest")
    parser.add_argument("--api-key-env", metavar="NAME", help="as given to pytest")
    parser.add_argument("--tokenizer", metavar="PATH_OR_ID", help="as given to pytest")
    parser.add_argument("--load-seed", type=int, metavar="N", help="as given to pytest")
    parser.add_argument("--data-seed", type=int, metavar="N", help="as given to pytest")
    parser.add_argument("--ready-timeout", type=float, metavar="SECONDS", help="as given to pytest")
    parser.add_argument("--duration-scale", type=float, default=1.0, metavar="X", help="as given to pytest")
    parser.add_argument("--requests", type=int, metavar="N", help="as given to pytest")
    parser.add_argument("--eval-limit", type=int, metavar="N", help="as given to pytest")


def read_plan(arguments: argparse.Namespace) -> Plan:
    """The plan that pytest makes for the same paths and options. Raises `UsageError`."""
    here = Path.cwd()
    if missing := [path for path in arguments.suites if not (here / path.partition("::")[0]).exists()]:
        raise UsageError(f"{', '.join(missing)}: no such file or folder; expected folders of suites")
    files = discover(arguments.suites, here, [], cwd=here)
    require_all_found(files, arguments.suites, here, [], cwd=here)
    if not files:
        raise UsageError(
            f"no suite found in {', '.join(arguments.suites)}: "
            "expected folders that hold a YAML file with a top-level key `suite`"
        )
    return load_plan(
        files,
        words(arguments.plugins, dict(map(_api, arguments.api))),
        Overrides(
            endpoints=tuple(arguments.endpoint),
            served_model=arguments.served_model,
            api_key_env=arguments.api_key_env,
            tokenizer=arguments.tokenizer,
            load_seed=arguments.load_seed,
            data_seed=arguments.data_seed,
            ready_timeout_s=arguments.ready_timeout,
            duration_scale=arguments.duration_scale,
            requests=arguments.requests,
            eval_limit=arguments.eval_limit,
        ),
        os.environ,
        root=here,
    )


def words(plugins: Sequence[str], apis: Mapping[str, str] = MappingProxyType({})) -> Vocabulary:
    """The names that a suite may use: those shipped, those of installed plugins and of `plugins`, and `apis`.

    Raises `UsageError`.
    """
    found = contributions(plugins)
    return vocabulary(all_apis([*found.apis, apis]), found.audits, all_scorings(found.scorings))


def _api(text: str) -> tuple[str, str]:
    name, equals, reference = text.partition("=")
    if not (name and equals and ":" in reference):
        raise UsageError(f"--api {text!r}: expected NAME=MODULE:CLASS")
    return name, reference
