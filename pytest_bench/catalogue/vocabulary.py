"""The names that suites may use in this installation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from pytest_bench.api import BUILTIN, Api, import_api
from pytest_bench.audits import AuditTest, registry
from pytest_bench.errors import UsageError
from pytest_bench.evals import definitions as eval_definitions
from pytest_bench.evals.fields import EvalFields, metrics_of
from pytest_bench.metrics import names
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.simulator import Answers, Behaviour
from pytest_bench.suite.vocabulary import ApiWords, Vocabulary

_METHODS = ("encode", "prompt", "decode_stream", "decode_body")


def all_apis(contributed: Iterable[object]) -> dict[str, str]:
    """The shipped APIs and `contributed` ones: import references `module:attribute` by name.

    Raises `UsageError` for anything but a mapping of names to references, and for a name with two meanings.
    """
    known = dict(BUILTIN)
    for offered in contributed:
        if not isinstance(offered, Mapping) or not all(isinstance(item, str) for item in offered.values()):
            raise UsageError(
                f"pytest_bench_apis: a plugin offers {offered!r}; expected import references by name, as in "
                "{'acme': 'acme_api:Acme'}"
            )
        for name, reference in offered.items():
            if known.setdefault(name, reference) != reference:
                raise UsageError(
                    f"the API {name!r} is registered twice: as {known[name]} and as {reference}; rename one"
                )
    return known


def vocabulary(
    apis: Mapping[str, str], audits: Iterable[AuditTest] = (), scorings: Scorings = SCORINGS
) -> Vocabulary:
    """All names: those of `apis` (from `all_apis`), of the shipped audits and of `audits`, and of `scorings` (from
    `all_scorings`).

    Raises `UsageError` for an API that cannot be imported, and for two audits with the same name.
    """
    return Vocabulary(
        apis={name: _api_words(name, reference) for name, reference in apis.items()},
        unit_of={
            "perf": names.unit_of,
            "eval": partial(eval_definitions.unit_of, scorings=scorings),
            "slo": names.slo_unit_of,
        },
        check_simulator=_check_behaviour,
        metrics={
            "perf": {name: names.unit_of(name) for name in names.all_names()},
            "eval": {
                name: eval_definitions.unit_of(name, scorings) for name in eval_definitions.names(scorings)
            },
            "slo": {name: names.slo_unit_of(name) for name in names.slo_names()},
        },
        meanings={name: eval_definitions.meaning_of(name) for name in eval_definitions.names()}
        | {name: names.meaning_of(name) for name in (*names.all_names(), *names.slo_names())},
        audits=registry(audits).words(),
        eval_metrics=metrics_of,
        eval_fields=EvalFields,
        validation_context=scorings,
    )


def _check_behaviour(behaviour: Mapping[str, object]) -> None:
    answers = Behaviour.from_mapping(dict(behaviour)).answers
    if answers is not None:
        Answers(Path(answers))


def _api_words(name: str, reference: str) -> ApiWords:
    api = import_api(name, reference)
    _require_shape(name, reference, api)
    return ApiWords(
        reference=reference,
        columns=api.columns,
        required=api.required,
        streaming=api.streaming,
        video_seconds=api.video_seconds,
    )


def _require_shape(name: str, reference: str, api: Api) -> None:
    """Raises `UsageError` for an object that lacks a member of `Api`, before a load worker needs it."""
    attributes = tuple(Api.__annotations__)
    lacking = [member for member in attributes if not hasattr(api, member)]
    methods = (*_METHODS, "pending") if getattr(api, "polls", False) else _METHODS
    lacking += [f"{member}()" for member in methods if not callable(getattr(api, member, None))]
    if lacking:
        raise UsageError(
            f"the API {name!r}: {reference} lacks {', '.join(lacking)}; expected everything that "
            "pytest_bench.api.Api describes"
        )
    if not (api.required and api.required <= set(api.columns)):
        raise UsageError(
            f"the API {name!r}: {reference} has required = {set(api.required) or '{}'}; expected one or more of "
            f"its columns: {', '.join(api.columns) or 'it has none'}"
        )
