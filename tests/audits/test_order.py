"""What ran before an audit on its server: told as it happened, whatever suites and datasets are called."""

from __future__ import annotations

import shutil

import pytest

from pytest_bench.audits.contract import AuditPhase
from pytest_bench.audits.order import Before, OutOfOrder, contradictions, primed_by
from pytest_bench.errors import EvidenceError
from pytest_bench.running.samples import Share
from pytest_bench.workload import SampleOrder

PERF_FIRST = "order: [perf, eval, audit]\n"
AUDIT = "dataset: again, load: {pattern: concurrency, concurrency: 1, requests: 4}, budget: *patient"


def with_second_dataset(text, name):
    return text.replace("{prompts:", f"{{again: {{path: {name}.jsonl}}, prompts:")


def test_an_audit_that_runs_before_a_benchmark_planned_before_it_says_so(auditor, caching_suite):
    measured = auditor.audit(PERF_FIRST + caching_suite("of: single-stream, samples: 4"))

    assert "before-benchmark" in measured.summary.judgement.labels
    assert not measured.summary.detail["before"]["begun"]


def test_an_audit_after_a_benchmark_that_was_to_come_after_it_is_refused_before_its_first_request(
    auditor, caching_suite
):
    auditor.dataset(rows=12)
    with auditor.session(caching_suite("of: single-stream")) as run:
        auditor.perf("single-stream")
        sent = len(auditor.requests())
        with pytest.raises(OutOfOrder, match="ran after s/perf/single-stream, which was to come after it"):
            run("a")
        assert len(auditor.requests()) == sent


@pytest.mark.parametrize("copy", ["the same file", "a copy", "a file with some of its prompts"])
def test_a_benchmark_on_the_same_prompts_by_another_name_counts_as_a_benchmark_on_them(
    auditor, caching_suite, tmp_path, copy
):
    name = "prompts" if copy == "the same file" else "copied"
    if copy == "a copy":
        shutil.copy(tmp_path / "prompts.jsonl", tmp_path / "copied.jsonl")
    elif name == "copied":
        auditor.dataset("copied", rows=20, prompt=lambda number: f"prompt {number + 30} of prompts")
    text = with_second_dataset(PERF_FIRST + caching_suite(AUDIT, "cache_after: 2"), name)
    with auditor.session(text) as run:
        auditor.perf("single-stream")
        measured = run("a")

    assert {"between-benchmarks", "cache-shared"} <= set(measured.summary.judgement.labels)
    assert "s/perf/single-stream may have sent the same samples" in measured.summary.detail["explanation"], (
        measured.summary.judgement
    )


def test_a_benchmark_on_other_prompts_primes_nothing(auditor, caching_suite):
    auditor.dataset("other")
    text = with_second_dataset(PERF_FIRST + caching_suite(AUDIT), "other")
    with auditor.session(text) as run:
        auditor.perf("single-stream")
        measured = run("a")

    assert not {"between-benchmarks", "cache-shared"} & set(measured.summary.judgement.labels)
    assert measured.summary.detail["order"] == "no benchmark on its dataset"


def test_an_earlier_audit_on_the_same_prompts_by_another_name_may_have_primed_them(auditor, caching_suite):
    text = with_second_dataset(
        caching_suite(f"of: single-stream, samples: 4}}\n  b: {{test: output-caching, {AUDIT}"), "prompts"
    )
    with auditor.session(text) as run:
        first, second = run("a"), run("b")

    assert "cache-shared" not in first.summary.judgement.labels
    assert "cache-shared" in second.summary.judgement.labels


# Held against the leases of the session.

BENCHMARKS = ("s/perf/offline", "s/perf/single-stream")


def said(auditor, caching_suite, *, sharing=BENCHMARKS, begun=(), order="before the benchmark", began=None):
    plan = auditor.plan(caching_suite("of: single-stream, samples: 4"))
    detail = {"order": order, "before": {"sharing": list(sharing), "begun": list(begun)}}
    times = {"s/audit/a": 5, "s/perf/offline": 9, "s/perf/single-stream": 9} if began is None else began
    return list(contradictions(plan, plan.point("s/audit/a"), detail, times))


def test_an_order_that_leases_bear_out_is_not_contradicted(auditor, caching_suite):
    assert said(auditor, caching_suite) == []
    assert said(auditor, caching_suite, began={}) == []


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (
            {"began": {"s/audit/a": 5, "s/perf/offline": 2}},
            "offline began after the audit; its lease says before",
        ),
        (
            {"begun": BENCHMARKS, "order": "after the benchmark"},
            "began before the audit; its lease says after",
        ),
        ({"order": "after the benchmark"}, "from what ran before it follows 'before the benchmark'"),
        ({"sharing": BENCHMARKS[:1]}, "lacks s/perf/single-stream"),
    ],
)
def test_an_order_that_leases_or_the_plan_do_not_bear_out_is_contradicted(
    auditor, caching_suite, lie, sentence
):
    assert any(sentence in found for found in said(auditor, caching_suite, **lie))


def test_an_audit_that_does_not_say_what_ran_before_it_is_no_evidence(auditor, caching_suite):
    plan = auditor.plan(caching_suite())
    with pytest.raises(EvidenceError, match=r"detail\.before"):
        list(contradictions(plan, plan.point("s/audit/a"), {}, {}))


@pytest.mark.parametrize(
    ("first", "count", "primed"),
    [(0, 5, True), (9, 1, True), (10, 40, True), (49, 5, True), (50, 10, False), (60, 10, False)],
)
def test_a_warm_up_primes_the_rows_it_sends_and_a_benchmark_those_it_measures(first, count, primed):
    share = Share(first=10, measured=40, warmup_first=0, warmup=10, shared=False)
    phase = AuditPhase(label="reference", requests=count, samples=SampleOrder(count=count, first=first))
    before = Before(sharing=("s/perf/p",), begun=("s/perf/p",))
    assert primed_by(phase, {"s/perf/p": share}, before) == (["s/perf/p"] if primed else [])
