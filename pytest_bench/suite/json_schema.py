"""The suite language as a JSON Schema, for editors that complete and check suites."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

from pytest_bench.bounds import TIME_UNITS
from pytest_bench.suite.command_evals import CommandEvalSection
from pytest_bench.suite.container_schema import ContainerSection, RoleSection
from pytest_bench.suite.dataset_schema import DatasetSection
from pytest_bench.suite.deployment_schema import DeploymentSection
from pytest_bench.suite.eval_deployment import OVERRIDES, REFUSED
from pytest_bench.suite.points import with_fields
from pytest_bench.suite.schema import (
    AuditSection,
    BoundsSection,
    EvalSection,
    LimitSection,
    LimitsSection,
    PerfSection,
    SuiteSection,
)
from pytest_bench.suite.section import Section, SuiteName
from pytest_bench.suite.table_evals import TableEvalSection
from pytest_bench.suite.vocabulary import Vocabulary

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The newest dialect that language servers of editors know. The schema means the same in 2020-12."""


def json_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """The JSON Schema of a suite file, with the APIs, audits and evals of `vocabulary`.

    It describes shapes, and the metrics that limits may name with their units. References and the fields of load
    patterns are checked when a plan is made.
    """
    parts: dict[str, Any] = {
        "deployment": (_deployment(vocabulary), ...),
        "datasets": (dict[str, DatasetSection], Field(default_factory=dict)),
        "named_bounds": (dict[str, LimitsSection], Field(default_factory=dict)),
        "perf": (dict[str, PerfSection], Field(default_factory=dict)),
        "audit": (_audits(vocabulary), Field(default_factory=dict)),
        "eval": (_evals(vocabulary), Field(default_factory=dict)),
    }
    suite = create_model("Suite", __base__=SuiteSection, __doc__=SuiteSection.__doc__, **parts)
    schema = {"$schema": DIALECT, **suite.model_json_schema()}
    if vocabulary.metrics:
        _name_metrics(schema["$defs"], vocabulary)
    return schema


def _name_metrics(definitions: dict[str, Any], vocabulary: Vocabulary) -> None:
    """Let limits name only metrics that exist, each with its meaning and a limit in its unit."""
    metrics, meanings = vocabulary.metrics, vocabulary.meanings
    for unit, (suffix, example) in _UNITS.items():
        limit = {**definitions[LimitSection.__name__]}
        text = {
            "type": "string",
            "pattern": _LIMIT.format(suffix),
            "patternErrorMessage": f"expected a comparison and a number{_SAID[unit]}, as in {json.dumps(example)}",
            "examples": [example],
        }
        limit["properties"] = {**limit["properties"], "bound": text}
        definitions[f"Limit_{unit}"] = {"anyOf": [text, limit]}
    bounds = {**metrics["perf"], **metrics["eval"]}
    plain, with_sets = definitions[LimitsSection.__name__], definitions[BoundsSection.__name__]
    definitions["Slo"] = _limits(plain, metrics["slo"], meanings)
    definitions[LimitsSection.__name__] = _limits(plain, bounds, meanings)
    definitions[BoundsSection.__name__] = _limits(with_sets, bounds, meanings)
    definitions[PerfSection.__name__]["properties"]["slo"]["$ref"] = "#/$defs/Slo"


def _limits(
    section: Mapping[str, Any], units: Mapping[str, str], meanings: Mapping[str, str]
) -> dict[str, Any]:
    """`section`, with the metrics of `units` as its properties and no others."""
    named = {
        name: {
            # Draft 7 ignores what stands beside a reference; editors show it.
            "$ref": f"#/$defs/Limit_{unit if unit in _UNITS else 'number'}",
            "description": meanings[name],
        }
        for name, unit in units.items()
    }
    return {
        **section,
        "properties": {**section.get("properties", {}), **named},
        "additionalProperties": False,
    }


OPTIONAL = "Overrides"
"""What is appended to the name of a section whose keys are all optional."""

_UNITS = {
    "ns": (f"({'|'.join(TIME_UNITS)})", "<= 200ms"),
    "fraction": ("%?", "<= 1%"),
    "number": ("", ">= 100"),
}
"""What follows the number of a limit, and an example, by the unit of its metric."""
_SAID = {
    "ns": f" with a unit ({', '.join(TIME_UNITS)})",
    "fraction": ", or percent",
    "number": " without a unit",
}
"""The same in words, which editors show instead of the pattern."""
_LIMIT = r"^(\s*(<=|>=|==|<|>)\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*{}\s*|.*\$\{{.*)$"
"""A limit as `bounds.parse_bound` reads it, or any text with a reference to a variable."""


def _deployment(vocabulary: Vocabulary) -> type[DeploymentSection]:
    return create_model(
        "Deployment",
        __base__=DeploymentSection,
        __doc__=DeploymentSection.__doc__,
        api=(_one_of(vocabulary.apis), Field(description=DeploymentSection.model_fields["api"].description)),
    )


def _audits(vocabulary: Vocabulary) -> Any:  # a type made at run time
    """A mapping of audit points, each with the fields of the audit that it names."""
    points = [
        create_model(
            f"Audit_{test}",
            __base__=with_fields(AuditSection, words.fields),
            __doc__=words.fields.__doc__,
            test=(_one_of([test]), Field(description=AuditSection.model_fields["test"].description)),
        )
        for test, words in vocabulary.audits.items()
    ]
    point: Any = functools.reduce(operator.or_, points) if points else AuditSection
    return dict[str, point]


def _evals(vocabulary: Vocabulary) -> Any:  # a type made at run time
    """A mapping of evals, and the settings of their own deployment."""
    fields = vocabulary.eval_fields
    point: Any = EvalSection if fields is None else with_fields(EvalSection, fields)
    role: Any = _optional(RoleSection)
    overrides = _optional(
        _deployment(vocabulary),
        without=REFUSED,
        container=_optional(ContainerSection),
        containers=dict[SuiteName, role],
    )
    described = Field(
        default=None,
        description="Settings in which the deployment of all evals differs from `deployment`; all but "
        f"{', '.join(f'`{name}`' for name in REFUSED)}.",
    )
    members: dict[str, Any] = {
        OVERRIDES: (overrides | None, described),
        "__pydantic_extra__": (dict[str, point | CommandEvalSection | TableEvalSection], Field(init=False)),
    }
    return create_model(
        "Evals",
        __config__=ConfigDict(extra="allow"),
        __doc__="Evals by name, each with the keys of `EvalFields`, or of `CommandEval` if another tool runs it, or of "
        "`TableEval` if it leaves tables.",
        **members,
    )


def _optional(section: type[Section], *, without: Collection[str] = (), **types: Any) -> Any:  # as above
    """`section` with all of its keys optional, those of `types` of that type, and those in `without` left out."""
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if name not in without:
            kind = types.get(name, Annotated[(field.annotation, Field(), *field.metadata)])
            fields[name] = (kind | None, Field(default=None, description=field.description))
    return create_model(f"{section.__name__}{OPTIONAL}", __base__=Section, __doc__=section.__doc__, **fields)


def _one_of(words: Iterable[str]) -> Any:  # a type made at run time
    known = tuple(words)
    return Literal[known] if known else str
