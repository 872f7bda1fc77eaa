"""Evals that cannot be asked, scored or judged are refused before anything starts, with file, line and remedy."""

from __future__ import annotations

import re

import pytest
from eval_folder import POINTS, write_eval

from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.catalogue.evals import require_evals
from pytest_bench.errors import SuiteError, UsageError
from pytest_bench.suite.context import Overrides
from pytest_bench.suite.loading import load_plan


def plan(root, overrides=None, **changes):
    write_eval(root, **changes)
    return load_plan(
        [root / "bench/tiny.yaml"], vocabulary(all_apis([])), overrides or Overrides(), {}, root=root
    )


def refusal(root, **changes):
    with pytest.raises(SuiteError) as caught:
        plan(root, **changes)
    return str(caught.value)


def complaint(root, **changes):
    found = plan(root, **changes)
    with pytest.raises(UsageError) as caught:
        require_evals(found, found.points)
    return str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("workers: 2", "workers is 2; an eval has one load worker, which writes its checkpoint"),
        ("minimum_duration_s: 1", "minimum_duration_s does not apply to an eval"),
        ("texts: drop", "expected 'keep'"),
        ("scorers: [gsm8k-strict]", "unknown scorer 'gsm8k-strict'; did you mean 'gsm8k-strict-match'?"),
        ("scorers: [numeric, numeric]", "two scorers report 'numeric_match,last-anchored'"),
        ("bounds: {'numeric_match,last-anchored': '>= 0.5'}", "is not reported by the scorers of this eval"),
        ("bounds: {truncated: '<= 1%'}", "there is no metric 'truncated' of evals; did you mean"),
        ("gates: [{metric: x, threshold: 1}]", "a gate is on 'x', which no scorer reports"),
        ("template: '{{question'", "invalid template"),
        ("retry: {attempts: 2, on: [5xx], backoff_s: 61}", "'backoff_s' is more than 'max_wait_s'"),
        (
            "item_time_limit_s: 600",
            "'item_time_limit_s' is 600, and a request fails after 'timeouts.request_s', 600",
        ),
        ("item_time_limit_s: 0", "item_time_limit_s is 0; expected a number greater than 0"),
        ("pass_at: [4]", "pass@4 needs 4 repeats; there are 1"),
        ("unscored: {count: 1, share: 0.5}", "expected exactly one of 'count' and 'share'"),
        ("retry: {attempts: 2, on: [404]}", "expected 'timeout', 'reset', '429' or '5xx'"),
        (
            "gates: [{metric: 'exact_match,strict-match', non_inferior: 0.1}]",
            "'non_inferior' and 'baseline' need each other",
        ),
    ],
)
def test_an_impossible_declaration_is_refused(tmp_path, fields, said):
    assert said in refusal(tmp_path, fields=f"{fields}\n")


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        ("{stream: false}", "expected 'generation' with 'max_tokens'"),
        ("{max_tokens: 8, ignore_eos: true}", "'ignore_eos' makes every answer run on to 'max_tokens'"),
        ("{max_tokens: 8, extra_body: {ignore_eos: true}}", "'ignore_eos' makes every answer run on"),
        (
            "{max_tokens: 8, extra_body: {echo: true}}",
            "'extra_body.echo' makes every answer begin with its prompt",
        ),
        (
            "{max_tokens: 8, extra_body: {max_completion_tokens: 9}}",
            "twice, as max_tokens and max_completion_tokens",
        ),
        ("{max_tokens: 8, seed: 1, extra_body: {seed: 2}}", "as eval.sums.generation.seed; expected it once"),
        (
            "{max_tokens: 8, extra_body: {temperature: 1}}",
            "by the preset, as eval.sums.generation.temperature",
        ),
        (
            "{max_tokens: 8, extra_body: {stop: [x]}}",
            "tiny.yaml:18:52: eval.sums.generation.extra_body.stop is also",
        ),
        ("{max_tokens: 8, extra_body: {prompt: x}}", "extra_body.prompt is written by the API; leave it out"),
        ("{max_tokens: 8, extra_body: {n: 2}}", "extra_body.n is 2; one request is measured by one answer"),
    ],
)
def test_parameters_that_would_spoil_answers_are_refused(tmp_path, generation, said):
    write_eval(tmp_path)
    suite = tmp_path / "bench/tiny.yaml"
    suite.write_text(suite.read_text().replace("{max_tokens: 64, stream: false}", generation))
    with pytest.raises(SuiteError, match=re.escape(said)):
        load_plan([suite], vocabulary(all_apis([])), Overrides(), {}, root=tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"items": 3}, "has 3 items in 1 repeats, fewer than the concurrency 4"),
        ({"fields": "template: '{{problem}}'\n"}, "the template cannot be rendered: 'problem' is undefined"),
        (
            {"fields": "template: null\nmessages: [{role: user, content: '{{question}}'}]\n"},
            "the API 'openai-completions' does not take messages",
        ),
    ],
)
def test_items_that_cannot_be_asked_are_refused(tmp_path, changes, said):
    assert said in complaint(tmp_path, **changes)


def test_what_a_preset_fixes_is_in_the_plan_and_can_be_overridden(tmp_path):
    found = plan(tmp_path, fields="target: '{{answer}}!'\n")
    assert [point.id for point in found.points] == list(POINTS)
    options = found.points[0].options
    assert options["template"] == "Question: {{question}}\nAnswer:"
    assert options["target"] == "{{answer}}!"
    assert options["generation"]["stop"] == ["Question:", "</s>", "<|im_end|>"]
    assert options["few_shots"] == {"dataset": "shots", "count": 2}
    assert [scorer["name"] for scorer in options["scorers"]] == [
        "gsm8k-strict-match",
        "gsm8k-flexible-extract",
    ]


def test_another_task_is_another_point(tmp_path):
    before, after = plan(tmp_path), plan(tmp_path, fields="target_delimiter: ''\n")
    assert before.point_digest(before.points[0]) != after.point_digest(after.points[0])
