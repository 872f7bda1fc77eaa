"""Evals that another tool runs, as suites declare them."""

from __future__ import annotations

import pytest

from pytest_bench.labels import Label
from pytest_bench.suite.command_evals import filled_in, is_command, secrets_of
from pytest_bench.suite.plan import Secret

SUITE = """suite: s
deployment: {{api: openai-chat, model: m}}
eval:
  e:
    command: [{command}]
    tasks: [gsm8k]
{fields}
"""
COMMAND = 'tool, "--url={endpoint}", "--n={concurrency}", "{output}"'
FIELDS = "    min_score: 0.5\n    concurrency: 8"


def suite(command=COMMAND, fields=FIELDS):
    return SUITE.format(command=command, fields=fields)


def test_a_command_makes_one_point_for_each_concurrency(bench):
    plan = bench.plan(suite(fields="    min_score: 0.5\n    sweep: {concurrency: [1, 64]}"))
    assert [point.id for point in plan.points] == ["s/eval/e/c0001", "s/eval/e/c0064"]
    for point, concurrency in zip(plan.points, (1, 64), strict=True):
        assert is_command(point)
        assert (point.load.concurrency, point.dataset, point.labels) == (concurrency, None, ())
        assert point.options["resume"] == "never"
        assert point.options["command"][1] == "--url={endpoint}"


def test_a_limited_command_is_labelled(bench):
    (point,) = bench.plan(suite(fields=f"{FIELDS}\n    limit: 10")).points
    assert point.labels == (Label.LIMITED,)


def test_keys_in_its_environment_are_secrets(bench):
    fields = f"{FIELDS}\n    environment: {{HF_HOME: /hf, OPENAI_API_KEY: {{from_env: KEY}}}}"
    plan = bench.plan(suite(fields=fields))
    assert [secret for _, secret in secrets_of(plan.points)] == [Secret(from_env="KEY")]


def test_placeholders_are_replaced_and_other_braces_stay():
    assert filled_in('{"a": {concurrency}}{endpoint}', {"concurrency": "8", "endpoint": "u"}) == '{"a": 8}u'


@pytest.mark.parametrize(
    ("command", "fields", "complaint"),
    [
        (
            'tool, "{endpoint}", "{output}"',
            FIELDS,
            "does not hold {concurrency} in 'command' or 'environment'",
        ),
        ('tool, "{concurrency}", "{output}"', FIELDS, "does not hold {endpoint}"),
        ('tool, "{concurrency}", "{endpoint}"', FIELDS, "does not hold {output}"),
        (f'{COMMAND}, "{{endpont}}"', FIELDS, "holds {endpont}, which is not a placeholder"),
        (f'{COMMAND}, "{{endpont}}"', FIELDS, "did you mean 'endpoint'?"),
        (COMMAND, "    concurrency: 8", "has no threshold for the task 'gsm8k'"),
        (COMMAND, "    thresholds: {mmlu: 0.5}\n    concurrency: 8", "has no threshold for the task 'gsm8k'"),
        (COMMAND, "    min_score: 1.5\n    concurrency: 8", "min_score"),
        (COMMAND, "    min_score: 0.5", "needs exactly one of 'concurrency' and 'sweep"),
        (COMMAND, f"{FIELDS}\n    sweep: {{concurrency: [1]}}", "needs exactly one of"),
        (COMMAND, f"{FIELDS}\n    environment: {{OPENAI_API_KEY: sk-1}}", "holds a key"),
        (COMMAND, f"{FIELDS}\n    environment: {{A: '{{x}}'}}", "holds {x}, which is not a placeholder"),
        (COMMAND, f"{FIELDS}\n    environment: {{'A B': x}}", "the name of an environment variable"),
        (COMMAND, f"{FIELDS}\n    resume: always", "resume"),
        (COMMAND, f"{FIELDS}\n    dataset: d", "unknown key 'dataset'"),
        ("", FIELDS, "command"),
    ],
)
def test_a_command_that_could_not_do_what_is_asked_is_refused(bench, command, fields, complaint):
    problems = bench.problems(suite(command, fields))
    assert problems
    assert any(complaint in problem for problem in problems), problems
    assert all(problem.startswith("chat.yaml:") for problem in problems)
