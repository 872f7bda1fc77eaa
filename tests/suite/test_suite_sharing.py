"""What suites share: variables, anchors, fragments and named bounds."""

from __future__ import annotations

import pytest

from pytest_bench.errors import SuiteError

PERF = "perf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"
DATA = "datasets: {d: {path: x.jsonl}}\n"


def deployment(bench, line: str, **environ: str):
    bench.environ = environ
    plan = bench.plan(f"suite: s\ndeployment:\n  api: videos\n  model: m\n  {line}\n" + DATA + PERF)
    return plan.deployments["s"]


def test_a_variable_expands_in_a_value(bench):
    assert deployment(bench, "endpoint: ${URL}", URL="http://a:1").endpoints == ("http://a:1",)


def test_a_default_replaces_a_variable_that_is_unset_or_empty(bench):
    assert deployment(bench, "endpoint: ${URL:-http://b:2}").endpoints == ("http://b:2",)
    assert deployment(bench, "endpoint: ${URL:-http://b:2}", URL="").endpoints == ("http://b:2",)


def test_an_empty_default_means_no_endpoint(bench):
    assert deployment(bench, "endpoint: ${URL:-}").endpoints == ()


def test_a_variable_without_quotes_may_hold_a_number(bench):
    assert deployment(bench, "ready_timeout_s: ${T}", T="90").ready_timeout_s == 90


def test_a_variable_in_quotes_is_text(bench):
    bench.environ = {"T": "90"}
    (problem,) = bench.problems(
        "suite: s\ndeployment: {api: videos, model: m, ready_timeout_s: '${T}'}\n" + DATA + PERF
    )
    assert 'ready_timeout_s is "90", which is text' in problem


def test_an_unset_variable_is_an_error_naming_it_and_its_place(bench):
    problems = bench.problems("suite: s\ndeployment: {api: videos, model: '${MODEL}'}\n" + DATA + PERF)
    assert problems == (
        "chat.yaml:2:34: the environment variable MODEL is not set; set it, or give a default: ${MODEL:-default}",
    )


def test_a_variable_does_not_expand_in_a_key(bench):
    bench.environ = {"KEY": "api"}
    problems = bench.problems(
        "suite: s\ndeployment: {'${KEY}': videos, api: videos, model: m}\n" + DATA + PERF
    )
    assert "unknown key '${KEY}'" in problems[0]


def test_a_doubled_dollar_is_a_dollar(bench):
    assert deployment(bench, "headers: {x-note: 'a $${b} c'}").headers == {"x-note": "a ${b} c"}


@pytest.mark.parametrize("text", ["${1X}", "${}", "${A", "${A-b}", "${A:b}"])
def test_a_reference_that_names_no_variable_is_refused(bench, text):
    (problem,) = bench.problems(f"suite: s\ndeployment: {{api: videos, model: '{text}'}}\n" + DATA + PERF)
    assert "is not a reference to a variable" in problem


def test_anchors_and_merge_keys_work_and_own_keys_win(bench):
    plan = bench.plan(
        "suite: s\ndeployment: {api: videos, model: m}\n" + DATA + "perf:\n"
        "  a: &a {dataset: d, load: &l {pattern: burst, requests: 5}, workers: 1}\n"
        "  b: {<<: *a, workers: 2}\n"
        "  c: {dataset: d, load: {<<: [*l, {requests: 9, concurrency: 3}]}}\n"
    )
    a, b, c = plan.points
    assert (a.workers, b.workers, b.load) == (1, 2, a.load)
    assert (c.load.requests, c.load.concurrency) == (5, 3)


def test_an_alias_that_contains_itself_is_refused(bench):
    problems = bench.problems("suite: s\ndeployment: &d {api: *d}\n" + DATA + PERF)
    assert any("an alias that contains itself" in problem for problem in problems)


def test_aliases_that_multiply_are_refused(bench):
    lines = ["suite: s", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    (problem,) = bench.problems("\n".join(lines))
    assert "more than 200000 values once its aliases are expanded" in problem


def test_a_fragment_is_merged_into_the_suite(bench):
    bench.write(
        "deployment: {api: videos}\nnamed_bounds: {ok: {error_rate: '<= 1%'}}\n", "configs/shared.yaml"
    )
    bench.write(
        "suite: s\ninclude: [../configs/shared.yaml]\ndeployment: {model: m}\n" + DATA + PERF, "suites/s.yaml"
    )
    plan = bench.load("suites/s.yaml")
    assert (plan.deployments["s"].api, plan.deployments["s"].model) == ("videos", "m")
    assert set(plan.files) == {"suites/s.yaml", "configs/shared.yaml"}


def test_a_key_given_by_suite_and_fragment_is_refused_with_both_positions(bench):
    bench.write("deployment: {api: videos, model: other}\n", "shared.yaml")
    problems = bench.problems("suite: s\ninclude: [shared.yaml]\ndeployment: {model: m}\n" + DATA + PERF)
    assert problems == (
        "chat.yaml:3:14: the key 'model' is also given at shared.yaml:1:27, which is included; expected each key once",
    )


def test_a_problem_in_a_fragment_is_placed_in_the_fragment(bench):
    bench.write("deployment:\n  api: vdeos\n", "shared.yaml")
    (problem,) = bench.problems("suite: s\ninclude: [shared.yaml]\ndeployment: {model: m}\n" + DATA + PERF)
    assert problem.startswith("shared.yaml:2:8: deployment.api is 'vdeos'")


def test_a_path_is_relative_to_the_file_that_contains_it(bench):
    bench.write("datasets: {d: {path: data/x.jsonl}}\n", "configs/shared.yaml")
    bench.write(
        "suite: s\ninclude: [../configs/shared.yaml]\ndeployment: {api: videos, model: m}\n" + PERF,
        "suites/s.yaml",
    )
    plan = bench.load("suites/s.yaml")
    assert plan.datasets["s"]["d"].path == str(bench.folder / "configs" / "data" / "x.jsonl")


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        (None, "shared.yaml cannot be read: No such file or directory"),
        ("- a\n", "a fragment must be a mapping, as a suite is"),
        ("include: [other.yaml]\n", "a fragment cannot include other files; include them in the suite"),
        ("", "the file is empty"),
        ("suite: t\n", "the key 'suite' is also given at shared.yaml:1:1"),
    ],
)
def test_a_fragment_that_cannot_be_merged_is_refused(bench, fragment, said):
    if fragment is not None:
        bench.write(fragment, "shared.yaml")
    problems = bench.problems(
        "suite: s\ninclude: [shared.yaml]\ndeployment: {api: videos, model: m}\n" + DATA + PERF
    )
    assert len(problems) == 1
    assert said in problems[0]


def test_named_bounds_are_added_where_they_are_used(bench):
    plan = bench.plan(
        "suite: s\ndeployment: {api: videos, model: m}\n"
        + DATA
        + "named_bounds:\n  ok: {error_rate: '<= 1%'}\n"
        "perf:\n  p: {dataset: d, load: {pattern: burst, requests: 1}, "
        "bounds: {use: [ok], request_throughput: '>= 1'}}\n"
    )
    assert [(bound.metric, bound.origin) for bound in plan.points[0].bounds] == [
        ("error_rate", "chat.yaml:5:20"),
        ("request_throughput", "chat.yaml:7:96"),
    ]


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (
            "{use: [okay]}",
            "perf.p.bounds.use[0] is 'okay', not a known set of named_bounds; expected ok; did you mean 'ok'?",
        ),
        ("{use: [ok], error_rate: '<= 2%'}", "expected one bound a metric"),
        ("{use: []}", "is empty"),
        ("{use: [ok, ok]}", "repeats 'ok'"),
    ],
)
def test_a_wrong_use_of_named_bounds_is_refused(bench, bounds, said):
    (problem,) = bench.problems(
        "suite: s\ndeployment: {api: videos, model: m}\n"
        + DATA
        + "named_bounds:\n  ok: {error_rate: '<= 1%'}\n"
        f"perf:\n  p: {{dataset: d, load: {{pattern: burst, requests: 1}}, bounds: {bounds}}}\n"
    )
    assert said in problem


def test_every_fragment_problem_is_reported_with_those_of_the_suite(bench):
    bench.write("named_bounds: {ok: {error_rat: '<= 1%', error_rate: 3}}\n", "shared.yaml")
    with pytest.raises(SuiteError) as caught:
        bench.plan("suite: s\ninclude: [shared.yaml, absent.yaml]\ndeployment: {api: videos}\n" + DATA + PERF)
    assert len(caught.value.problems) == 3
