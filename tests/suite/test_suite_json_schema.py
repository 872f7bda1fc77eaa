from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from pytest_bench import catalogue
from pytest_bench.suite.json_schema import json_schema

SUITES = Path(__file__).parents[2] / "suites"


@pytest.fixture(scope="module")
def validator(vocabulary):
    schema = json_schema(vocabulary)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("suite", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_suites_are_valid_under_the_schema_that_is_published(suite):
    schema = json_schema(catalogue.vocabulary(catalogue.all_apis([])))
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(suite.read_text(encoding="utf-8")))


def test_the_schema_is_plain_json(vocabulary):
    schema = json_schema(vocabulary)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def test_every_field_of_a_deployment_but_the_obvious_is_described(vocabulary):
    fields = json_schema(vocabulary)["$defs"]["Deployment"]["properties"]
    assert fields["api"]["enum"] == ["openai-chat", "videos"]
    assert [
        name for name, field in fields.items() if "description" not in field and "$ref" not in field
    ] == []


def test_the_schema_holds_the_fields_of_audits_and_evals(vocabulary):
    definitions = json_schema(vocabulary)["$defs"]
    audit = definitions["Audit_output-caching"]["properties"]
    assert audit["test"]["const"] == "output-caching"
    assert audit["samples"]["description"] == "Reference count."
    assert definitions["Task"]["required"] == ["dataset", "task"]


@pytest.mark.parametrize(
    "broken",
    [
        {"suite": "S"},
        {"perf": {"p": {"dataset": "d", "load": {"pattern": "burst", "requests": "4"}}}},
        {"perf": {"p": {"dataset": "d", "load": {"pattern": "bursts"}}}},
        {"perf": {"p": {"dataset": "d", "load": {"pattern": "burst"}, "bounds": {"error_rate": 3}}}},
        {"audit": {"a": {"test": "output-caching", "thresold": 0.1}}},
        {"deployment": {"api": "openai-caht", "model": "m"}},
        {"unknown": 1},
    ],
)
def test_the_schema_refuses_shapes_that_the_loader_refuses(validator, broken):
    suite = {"suite": "s", "deployment": {"api": "videos", "model": "m"}, **broken}
    assert not validator.is_valid(suite)


def test_the_schema_accepts_forms_that_the_loader_accepts(validator):
    validator.validate(
        {
            "suite": "s",
            "deployment": {
                "api": "videos",
                "model": "m",
                "endpoint": ["http://a", "http://b"],
                "headers": {"a": "b", "c": {"from_env": "D"}},
            },
            "datasets": {"d": {"synthetic": {"rows": 1, "input_tokens": 5, "output_tokens": {"mean": 3}}}},
            "named_bounds": {"n": {"error_rate": "<= 1%"}},
            "perf": {
                "p": {
                    "dataset": "d",
                    "load": {"pattern": "stages", "stages": [{"pattern": "burst", "requests": 3}]},
                    "bounds": {"use": ["n"], "request_throughput": {"bound": ">= 1", "confidence": 0.9}},
                }
            },
        }
    )


@pytest.fixture(scope="module")
def published():
    """The schema that `pytest-bench schema` prints, with every metric."""
    schema = json_schema(catalogue.vocabulary(catalogue.all_apis([])))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def limited(**fields):
    load = {"pattern": "burst", "requests": 4}
    return {
        "suite": "s",
        "deployment": {"api": "videos", "model": "m"},
        "perf": {"p": {"dataset": "d", "load": load, **fields}},
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"bounds": {"time_to_first_token.p99": "<= 200ms", "error_rate": "<= 0.7%", "use": ["n"]}},
        {"bounds": {"request_throughput": {"bound": ">= 1e1", "confidence": 0.9}}},
        {"bounds": {"request_latency.p50": "<= ${LIMIT}ms"}},
        {"slo": {"time_to_first_token": "< 1.5 s"}},
    ],
)
def test_limits_on_metrics_that_exist_are_valid_in_their_unit(published, fields):
    published.validate(limited(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"bounds": {"time_to_first_tokn.p99": "<= 200ms"}},
        {"bounds": {"time_to_first_token": "<= 200ms"}},
        {"bounds": {"time_to_first_token.p98": "<= 200ms"}},
        {"bounds": {"time_to_first_token.p99": "<= 200"}},
        {"bounds": {"time_to_first_token.p99": {"bound": "<= 200%"}}},
        {"bounds": {"request_throughput": ">= 1ms"}},
        {"bounds": {"error_rate": "0.7%"}},
        {"slo": {"time_to_first_token.p99": "<= 1s"}},
        {"slo": {"request_throughput": ">= 1"}},
    ],
)
def test_limits_on_other_metrics_statistics_and_units_are_not_valid(published, fields):
    assert not published.is_valid(limited(**fields))


def test_every_metric_that_a_bound_may_name_is_in_the_schema():
    vocabulary = catalogue.vocabulary(catalogue.all_apis([]))
    properties = json_schema(vocabulary)["$defs"]["BoundsSection"]["properties"]
    known = {*vocabulary.metrics["perf"], *vocabulary.metrics["eval"]}
    assert {name for name in properties if name != "use"} == known
    for kind, units in vocabulary.metrics.items():
        assert {name: vocabulary.unit_of[kind](name) for name in units} == units


def test_editors_show_what_a_metric_means_and_how_its_limit_is_written():
    definitions = json_schema(catalogue.vocabulary(catalogue.all_apis([])))["$defs"]
    for section in ("BoundsSection", "LimitsSection", "Slo"):
        named = {name: value for name, value in definitions[section]["properties"].items() if name != "use"}
        assert all(value["description"] for value in named.values())
    limits = {name: value["anyOf"][0] for name, value in definitions.items() if name.startswith("Limit_")}
    assert set(limits) == {"Limit_ns", "Limit_fraction", "Limit_number"}
    for limit in limits.values():
        [example] = limit["examples"]
        assert re.match(limit["pattern"], example)
        assert json.dumps(example) in limit["patternErrorMessage"]
