"""The words that suites may use: gathered from the rooms that know them, and from third parties."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

import pytest

from pytest_bench.api import BUILTIN, Api
from pytest_bench.metrics import definitions
from pytest_bench.simulator import Behaviour
from pytest_bench.suite.vocabulary import ApiWords, Vocabulary


def vocabulary(apis: Mapping[str, str]) -> Vocabulary:
    """All words of this installation. `apis` are import references by name, the shipped ones included.

    Raises `pytest.UsageError` for a reference that leads nowhere.
    """
    return Vocabulary(
        apis={name: _api_words(name, reference) for name, reference in apis.items()},
        unit_of={
            "perf": definitions.unit_of,
            "eval": definitions.unit_of,
            "slo": definitions.slo_unit_of,
        },
        check_simulator=_check_behaviour,
    )


def known_apis(config: pytest.Config) -> dict[str, str]:
    """The shipped APIs and those that other plugins register through `pytest_bench_apis`."""
    known = dict(BUILTIN)
    for contributed in config.hook.pytest_bench_apis():
        for name, reference in contributed.items():
            if known.setdefault(name, reference) != reference:
                raise pytest.UsageError(
                    f"the API {name!r} is registered twice: as {known[name]} and as {reference}"
                )
    return known


def _check_behaviour(behaviour: Mapping[str, object]) -> None:
    Behaviour.from_mapping(dict(behaviour))


def _api_words(name: str, reference: str) -> ApiWords:
    module, _, attribute = reference.partition(":")
    try:
        api = cast("Api", getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise pytest.UsageError(f"the API {name!r} cannot be imported from {reference!r}: {error}") from error
    return ApiWords(reference=reference, columns=api.columns, required=api.required, streaming=api.streaming)
