from __future__ import annotations

import pytest


def problems(bench, load: str):
    return bench.body_problems(f"perf: {{p: {{dataset: made, load: {load}}}}}\n")


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("{pattern: burst}", "has no 'requests', which pattern 'burst' needs"),
        ("{pattern: burst, requests: 3, rate: 2}", "rate does not apply to pattern 'burst'"),
        ("{pattern: concurrency, requests: 3}", "has no 'concurrency', which pattern 'concurrency' needs"),
        ("{pattern: concurrency, concurrency: 3}", "never ends: expected 'requests', 'duration_s', or both"),
        (
            "{pattern: concurrency, concurrency: 8, requests: 4}",
            "asks for 8 requests in flight but for 4 in all",
        ),
        (
            "{pattern: concurrency, concurrency: 8, requests: 9, stop: and}",
            "stop needs both 'requests' and 'duration_s'",
        ),
        ("{pattern: poisson, requests: 3}", "has no 'rate', which pattern 'poisson' needs"),
        (
            "{pattern: poisson, rate: 3, requests: 3, burstiness: 2}",
            "burstiness does not apply to pattern 'poisson'",
        ),
        (
            "{pattern: poisson, rate: 3, requests: 3, concurrency: 2}",
            "concurrency does not apply to pattern 'poisson'",
        ),
        ("{pattern: poisson, rate: 0, requests: 3}", "expected a number of at least"),
        (
            "{pattern: constant, rate: 3, duration_s: 10, ramp_s: 10}",
            "ramp_s is 10, not shorter than 'duration_s'",
        ),
        ("{pattern: trace, requests: 3}", "has no 'trace', which pattern 'trace' needs"),
        ("{pattern: trace, trace: nowhere.jsonl}", "nowhere.jsonl: there is no such file"),
        ("{pattern: stages}", "has no 'stages', which pattern 'stages' needs"),
        ("{pattern: stages, stages: []}", "is empty; expected at least one"),
        ("{pattern: stages, stages: [{pattern: burst}]}", "perf.p.load.stages[0] has no 'requests'"),
        ("{pattern: stages, stages: [{pattern: stages, stages: []}]}", "is empty"),
        ("{pattern: burst, requests: 3, duration_s: 90s}", 'duration_s is "90s", which is text'),
    ],
)
def test_a_load_that_cannot_be_driven_is_refused(bench, load, said):
    found = problems(bench, load)
    assert len(found) == 1
    assert said in found[0]


def test_stages_inside_stages_are_refused(bench):
    (problem,) = problems(
        bench, "{pattern: stages, stages: [{pattern: stages, stages: [{pattern: burst, requests: 1}]}]}"
    )
    assert "perf.p.load.stages[0].pattern is 'stages' inside stages" in problem


def test_every_pattern_can_be_written(bench):
    (bench.folder / "arrivals.csv").write_text("timestamp_ms,length\n0,1\n1.5,2\n20,3\n", encoding="utf-8")
    plan = bench.body(
        "perf:\n"
        "  a: {dataset: made, load: {pattern: burst, requests: 144, concurrency: 64}}\n"
        "  b: {dataset: made, load: {pattern: concurrency, concurrency: 8, duration_s: 30, ramp_s: 2}}\n"
        "  c: {dataset: made, load: {pattern: constant, rate: 10, requests: 100}}\n"
        "  d: {dataset: made, load: {pattern: poisson, rate: 10, requests: 9, duration_s: 100, stop: and}}\n"
        "  e: {dataset: made, load: {pattern: gamma, rate: 10, burstiness: 0.5, requests: 100}}\n"
        "  f: {dataset: made, load: {pattern: trace, trace: arrivals.csv}}\n"
        "  g:\n    dataset: made\n    load:\n      pattern: stages\n      handover: overlap\n"
        "      stages: [{pattern: burst, requests: 3}, {pattern: constant, rate: 1, duration_s: 3}]\n"
    )
    loads = {point.name: point.load for point in plan.points}
    assert loads["a"].concurrency == 64
    assert loads["b"].duration_s == 30
    assert loads["d"].stop == "and"
    assert loads["e"].burstiness == 0.5
    assert loads["f"].trace_ns == (0, 1_500_000, 20_000_000)
    assert [stage.pattern for stage in loads["g"].stages] == ["burst", "constant"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "is empty"),
        ('{"timestamp_s": 1}\n{"timestamp_s": 0.5}\n', "t.jsonl:2: earlier than the line before"),
        ('{"timestamp_s": NaN}\n', "t.jsonl:1: timestamp_s is nan; expected a time of at least 0"),
        *(
            (
                f'{{"{column}": {time}}}\n',
                f"t.jsonl:1: {column} is {time}, later than 30 days; times count from the start of the phase: subtract",
            )
            for column, time in [
                ("timestamp_s", 1700000000),
                ("timestamp", 1700000000000),
                ("timestamp_ms", 2592000001),
                ("timestamp_s", "1000000000000.0"),
            ]
        ),
        ('{"timestamp_s": -1}\n', "t.jsonl:1: timestamp_s is -1; expected a time of at least 0"),
        ('{"timestamp_s": "x"}\n', "t.jsonl:1: timestamp_s is 'x'"),
        ('{"timestamp_s": NaN}\n', "t.jsonl:1: timestamp_s is nan"),
        ('{"time": 1}\n', "t.jsonl:1: expected a row with one of 'timestamp', 'timestamp_ms', 'timestamp_s'"),
        ("[1]\n", "t.jsonl:1: is not a JSON object"),
        ("{\n", "t.jsonl:1: not valid JSON: Expecting property name enclosed in double quotes at column 2"),
    ],
)
def test_a_trace_with_a_bad_line_is_refused_with_its_number(bench, lines, said):
    (bench.folder / "t.jsonl").write_text(lines, encoding="utf-8")
    (problem,) = problems(bench, "{pattern: trace, trace: t.jsonl}")
    assert problem.startswith("chat.yaml:6:57: perf.p.load.trace cannot be used")
    assert said in problem
    assert "line 1" not in problem


def test_a_bad_trace_is_reported_once_however_often_it_is_named(bench):
    (bench.folder / "t.jsonl").write_text("{\n", encoding="utf-8")
    found = bench.body_problems(
        "perf:\n"
        "  p: {dataset: prompts, load: {pattern: trace, trace: t.jsonl}}\n"
        "  q: {dataset: prompts, load: {pattern: trace, trace: t.jsonl}}\n"
    )
    assert len(found) == 1


def test_more_requests_than_a_trace_has_are_refused(bench):
    (bench.folder / "t.jsonl").write_text('{"timestamp_s": 1}\n{"timestamp_s": 2}\n', encoding="utf-8")
    (problem,) = problems(bench, "{pattern: trace, trace: t.jsonl, requests: 3}")
    assert "perf.p.load.requests is 3, and the trace has 2 arrivals" in problem


def test_order_single_needs_its_sample(bench):
    (problem,) = bench.body_problems(
        "perf: {p: {dataset: made, load: {pattern: burst, requests: 1}, order: {order: single}}}\n"
    )
    assert "perf.p.order has no 'index', which order 'single' needs" in problem


def test_only_order_single_takes_a_sample(bench):
    (problem,) = bench.body_problems(
        "perf: {p: {dataset: made, load: {pattern: burst, requests: 1}, order: {index: 3}}}\n"
    )
    assert "perf.p.order.index is not for order 'without_replacement'" in problem


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (
            "{pattern: poisson, rate: 1, request: 3}",
            "one of duration_s, max_concurrency, pattern, ramp_s, rate, requests, stop; did you mean 'requests'?",
        ),
        (
            "{pattern: trace, trase: t.jsonl}",
            "expected one of duration_s, max_concurrency, pattern, requests, trace; did you mean 'trace'?",
        ),
        (
            "{pattern: stages, stages: [{pattern: burst, requests: 1, concurency: 2}]}",
            "perf.p.load.stages[0]; expected one of concurrency, duration_s, pattern, requests; did you mean",
        ),
        (
            "{patern: burst, requests: 1}",
            "burstiness, concurrency, duration_s, handover, max_concurrency, pattern",
        ),
    ],
)
def test_the_error_for_an_unknown_key_lists_the_keys_of_its_pattern(bench, load, said):
    assert any(said in problem for problem in problems(bench, load))


@pytest.mark.parametrize(
    ("load", "ends"),
    [
        ("{pattern: poisson, rate: 5, requests: 10}", (10, 60, "and")),
        ("{pattern: concurrency, concurrency: 2, duration_s: 90}", (None, 90, "or")),
        ("{pattern: poisson, rate: 5, duration_s: 60}", (None, 60, "and")),
        ("{pattern: constant, rate: 5, requests: 10, duration_s: 60, stop: and}", (10, 60, "and")),
        ("{pattern: burst, requests: 10}", (10, None, "or")),
    ],
)
def test_a_minimum_duration_is_enforced_unless_the_count_is_fixed(bench, load, ends):
    plan = bench.body(f"perf: {{p: {{dataset: made, minimum_duration_s: 60, load: {load}}}}}\n")
    found = plan.points[0].load
    assert (found.requests, found.duration_s, found.stop) == ends


@pytest.mark.parametrize(
    "load",
    [
        "{pattern: constant, rate: 5, requests: 10, duration_s: 60}",
        "{pattern: constant, rate: 5, duration_s: 59}",
        "{pattern: constant, rate: 5, requests: 10, duration_s: 59, stop: and}",
    ],
)
def test_a_minimum_duration_that_the_load_may_miss_is_refused(bench, load):
    (problem,) = bench.body_problems(
        f"perf: {{p: {{dataset: made, minimum_duration_s: 60, load: {load}}}}}\n"
    )
    assert "perf.p.minimum_duration_s is 60, and the load may end before" in problem
