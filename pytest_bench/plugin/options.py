"""The command line: our options, and what they say over the suites."""

from __future__ import annotations

import argparse
import os.path
from pathlib import Path

import pytest

SIMULATOR = "simulator"


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("inference-bench", "benchmarks, audits and evals of served models")
    group.addoption(
        "--endpoint",
        action="append",
        default=[],
        metavar="URL",
        help="use this endpoint for every selected deployment; repeat it for replicas; "
        "`simulator` asks for the built-in simulator",
    )
    group.addoption("--served-model", metavar="NAME", help="model name that requests carry")
    group.addoption(
        "--api-key-env", metavar="NAME", help="environment variable that holds the endpoint's API key"
    )
    group.addoption(
        "--tokenizer", metavar="PATH_OR_ID", help="tokenizer that counts, for every selected deployment"
    )
    group.addoption(
        "--results",
        metavar="DIR",
        help="folder for evidence; default results/<UTC time>-<nonce>. A used one is refused",
    )
    group.addoption(
        "--complete",
        action="store_true",
        help="every point that the suites declare must have run and passed (for CI)",
    )
    group.addoption(
        "--expect",
        metavar="FILE",
        help="what must have run, written by `pytest-bench plan` on a road of its own",
    )
    group.addoption(
        "--load-seed", type=int, metavar="N", help="stands in for every seed of arrivals and sample order"
    )
    group.addoption(
        "--data-seed",
        type=int,
        metavar="N",
        help="replaces the seed of every synthetic dataset: other prompts, which no cache of the server holds",
    )
    group.addoption(
        "--ready-timeout",
        type=float,
        metavar="SECONDS",
        help="how long to wait for an endpoint to become ready; 0 tries once",
    )
    group.addoption(
        "--duration-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply every duration, for a smoke run; points that it shortens are labelled",
    )
    group.addoption(
        "--requests",
        type=int,
        metavar="N",
        help="replace every number of requests that a load declares, for a smoke run; such points are labelled",
    )


def junit_path(config: pytest.Config) -> Path:
    """Where this call's JUnit file lies, as pytest understands the option."""
    given = os.path.expanduser(os.path.expandvars(config.option.xmlpath))  # noqa: PTH111 # as pytest does
    return Path(os.path.normpath(config.invocation_params.dir / given))


def simulator_asked_for(config: pytest.Config) -> bool:
    """Whether the command line itself asks for the simulator."""
    return tuple(config.option.endpoint) == (SIMULATOR,)


_SHOWS = ("help", "version", "markers", "cacheshow")
_COLLECTS = ("showfixtures", "show_fixtures_per_test", "collectonly", "setupplan")


def shows_only(option: argparse.Namespace) -> bool:
    """Whether a call with these options shows something that no suite has a part in: not even a broken one."""
    return any(getattr(option, name, None) for name in _SHOWS)


def is_informational(option: argparse.Namespace) -> bool:
    """Whether a call with these options collects and shows, at most: it then runs nothing and writes nothing."""
    return any(getattr(option, name, None) for name in _COLLECTS)
