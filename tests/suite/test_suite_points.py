from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from pytest_bench.errors import SuiteError
from pytest_bench.suite.plan import Plan
from pytest_bench.suite.sweep import padded


def ids(plan) -> list[str]:
    return [point.id for point in plan.points]


def test_a_point_is_named_by_suite_kind_and_name(bench):
    plan = bench.body("perf: {offline: {dataset: prompts, load: {pattern: burst, requests: 144}}}\n")
    (point,) = plan.points
    assert (point.id, point.suite, point.kind, point.name) == ("chat/perf/offline", "chat", "perf", "offline")
    assert point.origin == "chat.yaml:6:8"
    assert plan.point("chat/perf/offline") is point


def test_the_plan_holds_every_default(bench):
    plan = bench.body("perf: {offline: {dataset: prompts, load: {pattern: burst, requests: 144}}}\n")
    (point,) = plan.points
    assert point.timeouts.request_s == 600
    assert point.budget.cpu_share == 0.95
    assert (point.samples.order, point.samples.seed, point.samples.count) == ("without_replacement", 0, 0)
    assert (point.bounds, point.slo, point.warmup, point.texts) == ((), (), None, "keep")
    deployment = plan.deployments["chat"]
    assert (deployment.stream, deployment.ready_timeout_s, deployment.metrics_path) == (True, 60, "/metrics")
    assert deployment.tokens.backend == "auto"


def test_the_plan_survives_its_own_json(bench):
    plan = bench.body(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: concurrency, requests: 64}\n"
        "    sweep: {concurrency: [1, 8], isl: [64]}\n    bounds: {error_rate: '<= 1%'}\n    warmup: {requests: 2}\n"
        "audit: {a: {test: output-caching, of: p/c0001-isl00064}}\n"
        "eval: {e: {dataset: prompts, task: gsm8k, concurrency: 4}}\n"
    )
    read = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    assert read == plan
    assert read.digest() == plan.digest()


def test_a_sweep_makes_one_point_a_combination(bench):
    plan = bench.body(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: concurrency, requests: 64}\n"
        "    sweep: {isl: [1024, 128], concurrency: [1, 8]}\n"
    )
    assert ids(plan) == [
        "chat/perf/p/c0001-isl01024",
        "chat/perf/p/c0001-isl00128",
        "chat/perf/p/c0008-isl01024",
        "chat/perf/p/c0008-isl00128",
    ]
    assert [point.load.concurrency for point in plan.points] == [1, 1, 8, 8]
    assert plan.points[2].sweep == {"concurrency": 8, "isl": 1024}


def test_the_order_of_dimensions_does_not_change_ids(bench):
    body = (
        "perf:\n  p:\n    dataset: made\n    load: {pattern: concurrency, requests: 64}\n"
        "    sweep: {%s: [%s], %s: [%s]}\n"
    )
    first = ids(bench.body(body % ("isl", "128", "concurrency", "8")))
    assert first == ids(bench.body(body % ("concurrency", "8", "isl", "128")))


@pytest.mark.parametrize(
    ("value", "text"),
    [(8, "0008"), (1024, "1024"), (10240, "10240"), (0.5, "0000.5"), (2.0, "0002"), (1e-6, "0000.000001")],
)
def test_sweep_values_are_padded_decimals(value, text):
    assert padded(value, 4) == text


def test_the_data_seed_of_the_command_line_makes_other_prompts_and_so_another_point(bench):
    text = "perf: {p: {dataset: made, load: {pattern: burst, requests: 2}}}\n"
    plan, reseeded = bench.body(text), bench.body(text, data_seed=7)
    assert (plan.datasets["chat"]["made"].synthetic["seed"], plan.digest()) != (7, reseeded.digest())
    assert reseeded.datasets["chat"]["made"].synthetic["seed"] == 7
    assert reseeded.digest() != plan.digest()


def test_a_data_seed_that_changes_nothing_is_refused(bench):
    text = (
        "suite: s\ndeployment: {api: openai-chat, model: m}\ndatasets: {d: {path: prompts.jsonl}}\n"
        "perf: {p: {dataset: d, load: {pattern: burst, requests: 2}}}\n"
    )
    (problem,) = bench.problems(text, data_seed=7)
    assert "--data-seed is 7, but no dataset of these suites is synthetic" in problem


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_data_seed_out_of_range_is_refused(bench, seed):
    (problem,) = bench.body_problems(
        "perf: {p: {dataset: made, load: {pattern: burst, requests: 2}}}\n", data_seed=seed
    )
    assert "--data-seed is" in problem


def test_lengths_of_a_sweep_make_synthetic_datasets_of_their_own(bench):
    plan = bench.body(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: burst, requests: 5}\n    sweep: {isl: [64], osl: [32]}\n"
    )
    assert plan.points[0].dataset == "made-isl00064-osl00032"
    derived = plan.datasets["chat"]["made-isl00064-osl00032"]
    assert derived.synthetic["input_tokens"]["mean"] == 64
    assert derived.synthetic["output_tokens"]["mean"] == 32
    assert derived.synthetic["rows"] == plan.datasets["chat"]["made"].synthetic["rows"]


def test_lengths_cannot_be_swept_over_a_file(bench):
    (problem,) = bench.body_problems(
        "perf:\n  p:\n    dataset: prompts\n    load: {pattern: burst, requests: 5}\n    sweep: {isl: [64]}\n"
    )
    assert "perf.p.sweep.isl needs a synthetic dataset, and 'prompts' is a file" in problem


def test_a_value_given_by_load_and_sweep_is_refused(bench):
    problems = bench.body_problems(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: concurrency, requests: 64, concurrency: 2}\n"
        "    sweep: {concurrency: [1]}\n"
    )
    assert len(problems) == 1
    assert "perf.p.load.concurrency is also given by the sweep" in problems[0]


def test_a_sweep_over_a_field_that_the_pattern_lacks_points_at_the_sweep(bench):
    (problem,) = bench.body_problems(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: burst, requests: 64}\n    sweep: {rate: [1, 2]}\n"
    )
    assert problem.startswith("chat.yaml:10:19: perf.p.sweep.rate does not apply to pattern 'burst'")


def test_an_unknown_dataset_is_refused_with_the_nearest(bench):
    (problem,) = bench.body_problems("perf: {p: {dataset: prompt, load: {pattern: burst, requests: 1}}}\n")
    assert problem == (
        "chat.yaml:6:21: perf.p.dataset is 'prompt', not a known dataset of this suite; "
        "expected made, prompts; did you mean 'prompts'?"
    )


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ("time_to_frist_token.p99: '<= 1s'", "did you mean 'time_to_first_token'?"),
        ("time_to_first_token: '<= 1s'", "is a distribution: a statistic must follow"),
        ("time_to_first_token.p98: '<= 1s'", "has no statistic 'p98'"),
        ("time_to_first_token.p99: '<= 1'", "a time needs one of the units"),
        ("error_rate: '= 1%'", "is not a bound"),
        ("error_rate: 0.01", "expected a limit in quotes"),
        ("error_rate: {bound: '<= 1%', confidence: 95}", "expected a number less than 1"),
    ],
)
def test_a_bound_that_means_nothing_is_refused(bench, bounds, said):
    (problem,) = bench.body_problems(
        f"perf: {{p: {{dataset: made, load: {{pattern: burst, requests: 1}}, bounds: {{{bounds}}}}}}}\n"
    )
    assert said in problem


def test_a_bound_keeps_its_position_and_confidence(bench):
    plan = bench.body(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: burst, requests: 1}\n"
        "    bounds:\n      error_rate: {bound: '<= 1%', confidence: 0.95}\n"
    )
    (bound,) = plan.points[0].bounds
    assert (bound.metric, bound.limit, bound.confidence) == ("error_rate", 0.01, 0.95)
    assert bound.origin == "chat.yaml:11:19"


def test_an_audit_takes_dataset_load_and_limits_of_a_perf_point(bench):
    plan = bench.body(
        "perf:\n  offline: {dataset: prompts, load: {pattern: burst, requests: 144}, timeouts: {request_s: 5}}\n"
        "audit: {cache: {test: output-caching, of: offline, threshold: 0.2}}\n"
    )
    audit, perf = plan.points
    assert audit.kind == "audit"
    assert (audit.dataset, audit.load, audit.samples) == (perf.dataset, perf.load, perf.samples)
    assert audit.timeouts.request_s == 5
    assert audit.options == {"test": "output-caching", "of": "offline", "samples": None, "threshold": 0.2}


def test_an_audit_may_bring_its_own_load_and_take_the_only_dataset(bench):
    plan = bench.plan(
        "suite: s\ndeployment: {api: videos, model: m}\ndatasets: {only: {path: x.jsonl}}\n"
        "audit: {cache: {test: output-caching, load: {pattern: concurrency, concurrency: 1, requests: 20}}}\n"
    )
    assert plan.points[0].dataset == "only"


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        ("{test: output-cache, of: offline}", "did you mean 'output-caching'?"),
        ("{of: offline}", "audit.a has no 'test'"),
        ("{test: output-caching, of: ofline}", "did you mean 'offline'?"),
        (
            "{test: output-caching, of: swept}",
            "which sweeps; expected one of its points: swept/c0001, swept/c0002",
        ),
        (
            "{test: output-caching, of: paced}",
            "load pattern 'poisson', which cannot show what the audit looks for",
        ),
        ("{test: output-caching, of: offline, treshold: 0.1}", "did you mean 'threshold'?"),
        ("{test: output-caching, of: offline, threshold: 2}", "expected a number less than 1"),
        ("{test: output-caching, of: offline, dataset: prompts}", "is also taken from 'of'"),
        ("{test: output-caching}", "has neither 'of' nor 'load'"),
        ("{test: output-caching, load: {pattern: burst, requests: 2}}", "names no 'dataset'"),
    ],
)
def test_an_audit_that_cannot_be_run_is_refused(bench, audit, said):
    (problem,) = bench.body_problems(
        "perf:\n  offline: {dataset: prompts, load: {pattern: burst, requests: 144}}\n"
        "  swept: {dataset: prompts, load: {pattern: concurrency, requests: 9}, sweep: {concurrency: [1, 2]}}\n"
        "  paced: {dataset: prompts, load: {pattern: poisson, rate: 1, requests: 9}}\n"
        f"audit: {{a: {audit}}}\n"
    )
    assert said in problem


def test_an_eval_makes_one_point_a_concurrency(bench):
    plan = bench.body(
        "eval:\n  gsm8k:\n    dataset: prompts\n    task: gsm8k\n    sweep: {concurrency: [1, 8]}\n"
        "    bounds: {'exact_match,strict-match': '>= 0.90'}\n"
    )
    assert ids(plan) == ["chat/eval/gsm8k/c0001", "chat/eval/gsm8k/c0008"]
    assert plan.points[1].load.concurrency == 8
    assert plan.points[1].options == {"task": "gsm8k", "repeats": 1}
    assert plan.points[1].bounds[0].limit == 0.9


def test_an_eval_needs_concurrency_or_a_sweep(bench):
    (problem,) = bench.body_problems("eval: {e: {dataset: prompts, task: t}}\n")
    assert "needs exactly one of 'concurrency' and 'sweep" in problem


def test_evals_are_refused_if_the_installation_does_not_run_them(bench):
    bench.vocabulary = replace(bench.vocabulary, eval_fields=None)
    (problem,) = bench.body_problems("eval: {e: {dataset: prompts, concurrency: 1}}\n")
    assert problem == "chat.yaml:6:1: this installation does not run evals; remove the section"


EVERYTHING = """\
perf: {p: {dataset: prompts, load: {pattern: burst, requests: 1}}}
eval: {e: {dataset: prompts, task: t, concurrency: 1}}
audit: {a: {test: output-caching, of: p}}
"""


def test_audits_run_first_then_evals_then_perf(bench):
    assert ids(bench.body(EVERYTHING)) == ["chat/audit/a", "chat/eval/e", "chat/perf/p"]


def test_a_suite_may_say_otherwise(bench):
    assert ids(bench.body(EVERYTHING + "order: [perf, audit, eval]\n")) == [
        "chat/perf/p",
        "chat/audit/a",
        "chat/eval/e",
    ]


def test_an_order_that_leaves_out_a_declared_kind_is_refused(bench):
    (problem,) = bench.body_problems(EVERYTHING + "order: [perf, audit]\n")
    assert "order leaves out 'eval', which this suite declares" in problem


def test_an_unknown_column_of_a_dataset_is_refused_with_the_nearest(bench):
    (problem,) = bench.problems(
        "suite: s\ndeployment: {api: videos, model: m}\n"
        "datasets: {d: {path: x.jsonl, columns: {negative_promt: n, prompt: p}}}\n"
        "perf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"
    )
    assert problem.startswith("chat.yaml:3:41: unknown column 'negative_promt' of the API")
    assert problem.endswith("did you mean 'negative_prompt'?")


def test_a_dataset_of_an_eval_has_the_columns_of_the_eval(bench):
    plan = bench.plan(
        "suite: s\ndeployment: {api: openai-chat, model: m}\n"
        "datasets: {d: {path: x.jsonl, columns: {question: q}}}\neval: {e: {dataset: d, task: t, concurrency: 1}}\n"
    )
    assert plan.datasets["s"]["d"].columns == {"question": "q"}


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("{}", "expected exactly one of 'path' and 'synthetic'"),
        (
            "{path: x.jsonl, synthetic: {rows: 1, input_tokens: 1}}",
            "expected exactly one of 'path' and 'synthetic'",
        ),
        ("{path: x.txt}", "whose suffix is not known; add `format:`"),
        (
            "{synthetic: {rows: 1, input_tokens: {distribution: uniform, min: 9, max: 3}}}",
            "'min' is more than 'max'",
        ),
        ("{synthetic: {rows: 1, input_tokens: {distribution: normal, mean: 9}}}", "normal needs 'stddev'"),
        ("{synthetic: {rows: 1, input_tokens: {mean: 9, max: 10}}}", "fixed does not accept 'max'"),
        (
            "{synthetic: {rows: 1, input_tokens: many}}",
            "expected a whole number, or a mapping with a distribution",
        ),
    ],
)
def test_a_dataset_that_cannot_be_read_is_refused(bench, dataset, said):
    (problem,) = bench.problems(
        f"suite: s\ndeployment: {{api: videos, model: m}}\ndatasets: {{d: {dataset}}}\n"
        "perf: {p: {dataset: d, load: {pattern: burst, requests: 1}}}\n"
    )
    assert said in problem


def test_the_seed_of_the_command_line_replaces_every_seed(bench):
    body = (
        "perf:\n  p:\n    dataset: made\n    load: {pattern: poisson, rate: 1, requests: 5}\n"
        "    arrival_seed: 3\n    order: {seed: 4}\n"
    )
    assert bench.body(body).points[0].arrival_seed == 3
    (point,) = bench.body(body, load_seed=11).points
    assert (point.arrival_seed, point.samples.seed) == (11, 11)


def test_a_duration_scale_shortens_durations_and_is_recorded(bench):
    body = (
        "perf:\n  p:\n    dataset: made\n    minimum_duration_s: 90\n    warmup: {duration_s: 10}\n"
        "    load: {pattern: poisson, rate: 1, requests: 50, duration_s: 100, stop: and, ramp_s: 4}\n"
    )
    plan = bench.body(body, duration_scale=0.1)
    (point,) = plan.points
    assert plan.duration_scale == 0.1
    assert (point.load.duration_s, point.load.ramp_s, point.load.requests) == (10, 0.4, 50)
    assert (point.minimum_duration_s, point.warmup.load.duration_s) == (9, 1)
    assert bench.body(body).duration_scale == 1


COUNTED = "perf:\n  p:\n    dataset: made\n    load: {pattern: concurrency, concurrency: 4, requests: 50}\n"


def test_a_duration_scale_labels_the_points_that_it_shortens_and_no_others(bench):
    body = COUNTED + "  q: {dataset: made, load: {pattern: concurrency, concurrency: 4, duration_s: 50}}\n"
    plan = bench.body(body, duration_scale=0.1)
    counted, timed = plan.points
    assert (counted.load.requests, counted.labels) == (50, ())
    assert (timed.load.duration_s, timed.labels) == (5, ("shortened",))
    assert plan.unscaled(timed) == ""
    assert plan.unscaled(counted) == (
        "--duration-scale 0.1 changed nothing: the point declares no duration; --requests overrides its count"
    )
    unscaled = bench.body(body)
    assert [unscaled.unscaled(point) for point in unscaled.points] == ["", ""]


@pytest.mark.parametrize(
    "more", ["    warmup: {duration_s: 10}\n", "    minimum_duration_s: 9\n", "    slo: {}\n"]
)
def test_every_duration_of_a_point_counts_as_shortened(bench, more):
    (point,) = bench.body(COUNTED + more, duration_scale=0.5).points
    assert point.labels == (() if "slo" in more else ("shortened",))


def test_a_count_given_on_the_command_line_replaces_those_of_the_loads_and_is_labelled(bench):
    stages = "stages: [{pattern: burst, requests: 9}, {pattern: constant, rate: 1, duration_s: 3}]"
    plan = bench.body(
        COUNTED + "    warmup: {requests: 20}\n"
        f"  s: {{dataset: made, load: {{pattern: stages, {stages}}}}}\n"
        "  t: {dataset: made, load: {pattern: concurrency, concurrency: 4, duration_s: 50}}\n",
        requests=3,
    )
    counted, staged, timed = plan.points
    assert (counted.load.requests, counted.warmup.load.requests, counted.load.peak_in_flight) == (3, 3, 3)
    assert counted.labels == ("requests-overridden",)
    assert [stage.requests for stage in staged.load.stages] == [3, None]
    assert (timed.load.requests, timed.labels) == (None, ())


def test_a_count_equal_to_the_declared_one_overrides_nothing(bench):
    (point,) = bench.body(COUNTED, requests=50).points
    assert point.labels == ()


def test_a_count_that_a_sweep_gives_stays_because_the_id_states_it(bench):
    (point,) = bench.body(
        COUNTED.replace(", requests: 50", "") + "    sweep: {requests: [8]}\n", requests=3
    ).points
    assert (point.id, point.load.requests, point.labels) == ("chat/perf/p/n00008", 8, ())


def test_a_replayed_trace_issues_as_many_arrivals_as_the_command_line_allows(bench):
    (bench.folder / "t.csv").write_text("timestamp_s\n0\n1\n2\n", encoding="utf-8")
    body = "perf: {p: {dataset: made, load: {pattern: trace, trace: t.csv}}}\n"
    for requests, issued, labels in [(2, 2, ("requests-overridden",)), (3, 3, ()), (9, 3, ())]:
        (point,) = bench.body(body, requests=requests).points
        assert (point.load.exact_requests, point.labels) == (issued, labels)


def test_an_audit_of_a_shortened_point_is_labelled_like_it(bench):
    body = COUNTED + "audit:\n  a: {test: output-caching, of: p}\n  b: {test: output-caching, dataset: made, "
    body += "load: {pattern: concurrency, concurrency: 4, requests: 50}}\n"
    points = bench.body(body, requests=3).points
    assert [point.labels for point in points] == [("requests-overridden",)] * 3
    assert [point.load.requests for point in points] == [3, 3, 3]


@pytest.mark.parametrize("requests", [0, -1])
def test_a_count_on_the_command_line_must_be_positive(bench, requests):
    with pytest.raises(SuiteError, match=f"--requests is {requests}; expected a whole number greater than 0"):
        bench.body(COUNTED, requests=requests)


def test_a_warmup_is_the_points_own_load_with_other_limits(bench):
    plan = bench.body(
        "perf:\n  p:\n    dataset: made\n    load: {pattern: concurrency, requests: 64, ramp_s: 2}\n"
        "    sweep: {concurrency: [2, 32]}\n    warmup: {requests: 8, samples: salted, handover: drain}\n"
    )
    assert [point.warmup.load.peak_in_flight for point in plan.points] == [2, 8]
    warmup = plan.points[1].warmup
    assert (warmup.load.requests, warmup.load.ramp_s, warmup.samples, warmup.handover) == (
        8,
        0,
        "salted",
        "drain",
    )


def test_a_warmup_without_an_end_is_refused(bench):
    (problem,) = bench.body_problems(
        "perf: {p: {dataset: made, load: {pattern: burst, requests: 1}, warmup: {samples: own}}}\n"
    )
    assert "expected 'requests', 'duration_s', or both" in problem


def test_the_digest_of_a_plan_depends_on_its_declarations_only(bench):
    body = "perf: {p: {dataset: made, load: {pattern: burst, requests: %d}}}\n"
    first = bench.body(body % 1).digest()
    assert bench.body(body % 1).digest() == first
    assert bench.body(body % 2).digest() != first
    assert bench.body(body % 1, endpoints=("http://other:1",)).digest() != first
