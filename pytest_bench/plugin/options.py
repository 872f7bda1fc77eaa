"""The command line: our options, and what they say over the suites."""

from __future__ import annotations

import pytest

from pytest_bench.suite.context import Overrides

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
        "--duration-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply every duration, for a shortened smoke run; marked as such in the verdict",
    )


def overrides(config: pytest.Config) -> Overrides:
    """What the command line says over the suites. Raises `pytest.UsageError` for `simulator` among URLs."""
    option = config.option
    endpoints = tuple(option.endpoint)
    if SIMULATOR in endpoints and len(endpoints) > 1:
        raise pytest.UsageError("--endpoint=simulator stands alone: it cannot be a replica of anything")
    return Overrides(
        endpoints=endpoints,
        served_model=option.served_model,
        api_key_env=option.api_key_env,
        tokenizer=option.tokenizer,
        load_seed=option.load_seed,
        duration_scale=option.duration_scale,
    )


def simulator_asked_for(config: pytest.Config) -> bool:
    """Whether the command line itself asks for the simulator."""
    return tuple(config.option.endpoint) == (SIMULATOR,)


_INFORMATIONAL = (
    "help",
    "version",
    "markers",
    "showfixtures",
    "show_fixtures_per_test",
    "cacheshow",
    "collectonly",
    "setupplan",
)


def is_informational(config: pytest.Config) -> bool:
    """Whether this call only shows something: it then runs nothing and writes nothing."""
    return any(getattr(config.option, name, None) for name in _INFORMATIONAL)
