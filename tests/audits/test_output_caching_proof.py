"""output-caching against a real server that caches, or does not, through the real engine."""

from __future__ import annotations

import json

import pytest
from audit_runs import DECISIVE_MS
from msgspec.structs import replace

from pytest_bench.audits import AuditPhase, point
from pytest_bench.audits.output_caching import judge
from pytest_bench.audits.outputs import read_run
from pytest_bench.errors import UsageError
from pytest_bench.load.log import read_records
from pytest_bench.workload import SampleOrder

# Wider than MLPerf's thresholds: other work on this machine must not look like a cache, which is ten times faster.
OFFLINE = "of: offline, threshold: 0.5"
SINGLE_STREAM = "of: single-stream, threshold: 0.5"
PATIENT = "{vacancy: 1, schedule_lateness_ms: 2000, cpu_share: 1, achieved_share: 0.1}"
RECORD, WORDS = "audit_output_caching_test.json", "verify_OUTPUT_CACHING_TEST.txt"


def codes(measured):
    return {reason.code for reason in measured.summary.judgement.reasons}


def labels(measured):
    return set(measured.summary.judgement.labels)


def samples(measured, phase):
    return [record.sample_index for record in read_records(measured.folder / "phases" / phase)]


@pytest.mark.parametrize("scenario", [OFFLINE, SINGLE_STREAM])
@pytest.mark.parametrize("first_cached", [2, 5])
def test_a_server_that_answers_from_a_cache_fails(auditor, caching_suite, scenario, first_cached):
    """From the second identical request on, or a later one."""
    measured = auditor.audit(caching_suite(scenario, f"cache_after: {first_cached}", DECISIVE_MS))

    assert measured.outcome == "fail", measured.report()
    assert (measured.folder / WORDS).read_text() == "Performance check pass: False\n"
    assert "answers a repeated request faster than a new one" in measured.report()
    assert measured.value("throughput_ratio") > 1.5


@pytest.mark.parametrize("scenario", [OFFLINE, SINGLE_STREAM])
def test_a_server_that_computes_every_answer_passes(auditor, caching_suite, scenario):
    measured = auditor.audit(caching_suite(scenario, video_ms=DECISIVE_MS))

    assert measured.outcome == "pass", measured.report()
    assert (measured.folder / WORDS).read_text() == "Performance check pass: True\n"
    record = json.loads((measured.folder / RECORD).read_text())
    assert (record["test"], record["passed"]) == ("output_caching_test", True)


@pytest.mark.parametrize(("scenario", "single_stream"), [("offline", False), ("single-stream", True)])
def test_thresholds_just_above_and_just_below_what_was_measured_decide(
    auditor, caching_suite, scenario, single_stream
):
    """A cache that answers half as fast again, judged from its logs with one threshold and with the next."""
    text = caching_suite(
        f"of: {scenario}, threshold: 0.05", "cache_after: 2, cached_speedup: 1.5", DECISIVE_MS
    )
    measured = auditor.audit(text)
    folders = [
        replace(phase, folder=str(measured.folder / phase.folder)) for phase in measured.summary.phases
    ]
    runs = [
        read_run(
            AuditPhase(label=phase.label, requests=phase.issued, samples=SampleOrder(count=1)), phase, None
        )
        for phase in folders
    ]
    faster = measured.value("throughput_ratio") - 1

    assert measured.outcome == "fail", measured.report()
    for threshold, passed in ((faster - 1e-6, False), (faster + 1e-6, True)):
        again = judge(*runs, threshold=threshold, sample_index=3, single_stream=single_stream)
        assert (again.passed, again.details["ratio"]) == (passed, faster + 1)


def test_distinct_samples_come_first_and_then_one_sample_alone(auditor, caching_suite):
    measured = auditor.audit(caching_suite("of: offline, samples: 16, audit_samples: 8, sample_index: 5"))

    assert [phase.label for phase in measured.summary.phases] == ["reference", "output_caching"]
    reference = samples(measured, "reference")
    assert len(reference) == len(set(reference)) == 16
    assert samples(measured, "output_caching") == [5] * 8


def test_the_warm_up_of_the_audited_point_is_not_part_of_the_audit(auditor, caching_suite):
    text = caching_suite().replace("concurrency: 4}\n", "concurrency: 4}\n    warmup: {requests: 4}\n")
    assert "warmup" in text

    measured = auditor.audit(text)

    assert [phase.issued for phase in measured.summary.phases] == [24, 24]
    assert len(auditor.requests()) == 48


# Phases that cannot be judged.


@pytest.mark.parametrize(
    ("audit", "behaviour", "code"),
    [
        ("of: offline, budget: {cpu_share: 1.0e-6}", "seed: 0", "client-bound"),
        ("of: single-stream, samples: 1, timeouts: {drain_s: 0.01}", "video_ms: 700", "interrupted"),
        ("of: offline", "fault: {http_500: 1.0}", "zero-throughput"),
    ],
)
def test_a_phase_that_cannot_be_trusted_is_an_error_without_files(
    auditor, caching_suite, audit, behaviour, code
):
    text = caching_suite(audit, behaviour)
    measured = auditor.audit(text.replace("video_ms: 12, ", "") if "video_ms" in behaviour else text)

    assert measured.outcome == "error", measured.report()
    assert code in codes(measured)
    assert not (measured.folder / RECORD).exists()
    assert not (measured.folder / WORDS).exists()
    assert measured.summary.detail.result is None


@pytest.mark.parametrize("scenario", [OFFLINE, SINGLE_STREAM])
@pytest.mark.parametrize("behaviour", ["cache_after: 2", "cache_after: 0"])
def test_failed_requests_are_an_error_whether_or_not_the_server_has_a_cache(
    auditor, caching_suite, scenario, behaviour
):
    measured = auditor.audit(caching_suite(scenario, f"{behaviour}, fault: {{http_500: 0.3}}"))

    assert measured.outcome == "error", measured.report()
    assert codes(measured) == {"failures-in-rate"}
    assert "`tolerate_failures: true`" in measured.report()
    assert not (measured.folder / RECORD).exists()
    assert not (measured.folder / WORDS).exists()


@pytest.mark.parametrize(
    ("threshold", "behaviour", "outcome"),
    [
        ("0.8", "cache_after: 0", "pass"),
        ("0.8", "cache_after: 2", "fail"),
        ("0.01", "cache_after: 0", "fail"),
    ],
    ids=["no cache", "cache", "too few successes"],
)
def test_tolerated_failures_are_judged_by_mlperfs_arithmetic_and_labelled(
    auditor, caching_suite, threshold, behaviour, outcome
):
    audit = f"of: single-stream, threshold: {threshold}, tolerate_failures: true"
    measured = auditor.audit(caching_suite(audit, f"{behaviour}, fault: {{http_500: 0.15}}", DECISIVE_MS))

    assert measured.outcome == outcome, measured.report()
    assert "failures-tolerated" in labels(measured)
    record = json.loads((measured.folder / RECORD).read_text())
    assert record["passed"] is (outcome == "pass")
    phases = measured.summary.phases
    assert sum(phase.failed for phase in phases) > 0
    for phase, name in zip(phases, ("ref", "audit"), strict=True):
        window_s = (phase.last_completion_ns - phase.first_issue_ns) / 1e9
        assert record[f"{name}_qps"] == phase.succeeded / window_s
        assert (record[f"{name}_completed"], record[f"{name}_requested"]) == (phase.succeeded, 12)


def test_a_phase_cut_off_by_its_maximum_duration_is_judged_by_the_guard(auditor, caching_suite):
    load = "load: {pattern: concurrency, concurrency: 1, requests: 40, duration_s: 0.2}"
    measured = auditor.audit(caching_suite(f"dataset: prompts, {load}, budget: {PATIENT}"))

    assert measured.outcome == "fail"
    assert measured.summary.phases[0].issued < 40
    assert "Phase 'reference'" in measured.report()


def test_a_phase_shorter_than_the_declared_minimum_is_unofficial_and_not_extended(auditor, caching_suite):
    measured = auditor.audit(caching_suite("of: single-stream, threshold: 0.9, minimum_duration_s: 600"))

    assert measured.outcome == "pass"
    assert "unofficial" in labels(measured)
    assert [phase.issued for phase in measured.summary.phases] == [12, 12]


# Refused before the first request.


@pytest.mark.parametrize(
    ("audit", "complaint"),
    [
        ("of: offline, sample_index: 40", "rows 0 to 39"),
        ("of: offline, samples: 41", "41 distinct samples"),
        ("of: offline, reset_cache: true", "deployment.cache_reset"),
        ("load: {pattern: concurrency, concurrency: 1, duration_s: 1}", "name 'samples'"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_the_first_request(auditor, caching_suite, audit, complaint):
    with auditor.session(caching_suite(audit)) as run, pytest.raises(UsageError, match=complaint):
        run("a")

    assert auditor.requests() == []


# Order, and the cache between phases.

TWO_AUDITS = "of: offline, threshold: 0.5}\n  b: {test: output-caching, of: offline, reset_cache: "


def test_a_primed_cache_is_reset_if_the_suite_declares_it(auditor, caching_suite):
    auditor.dataset(rows=24)
    text = caching_suite(TWO_AUDITS + "true", "cache_after: 2", DECISIVE_MS).replace(
        "  model: m", "  model: m\n  cache_reset: /reset_cache"
    )

    with auditor.session(text) as run:
        run("a")
        measured = run("b")

    assert measured.outcome == "fail", measured.report()
    assert [reset.status for reset in measured.summary.detail.cache_resets] == [200, 200]
    assert "cache-shared" not in labels(measured)


def test_samples_that_an_earlier_point_may_have_primed_are_labelled(auditor, caching_suite):
    auditor.dataset(rows=24)

    with auditor.session(caching_suite(TWO_AUDITS + "false")) as run:
        first, second = run("a"), run("b")

    assert "cache-shared" not in labels(first)
    assert "cache-shared" in labels(second)


@pytest.mark.parametrize(
    ("order", "said"),
    [("[audit, eval, perf]", "before the benchmark"), ("[perf, eval, audit]", "after the benchmark")],
)
def test_the_order_is_declared_by_the_suite_and_recorded(auditor, caching_suite, order, said):
    with auditor.session(f"order: {order}\n{caching_suite('of: single-stream, samples: 4')}") as run:
        if said.startswith("after"):
            auditor.perf("offline")
            auditor.perf("single-stream")
        measured = run("a")

    assert json.loads((measured.folder / RECORD).read_text())["order"] == said
    assert measured.summary.detail.order == said
    assert said.replace(" the ", "-") in labels(measured), "which the session's verdict repeats"


def test_an_audit_leaves_evidence_that_lists_its_files(auditor, caching_suite):
    measured = auditor.audit(caching_suite("of: single-stream, samples: 4"))

    evidence = json.loads((measured.folder / "evidence.json").read_text())
    assert {RECORD, WORDS, "summary.json", "phases/reference/phase.json"} <= {
        file["path"] for file in evidence["files"]
    }


def test_an_audit_of_a_simulator_at_its_own_limit_is_labelled_and_keeps_its_outcome(
    auditor, caching_suite, monkeypatch
):
    seen = []

    def late(results):
        seen.extend(result.label for result in results)
        return ["In phase 'reference' the simulator was late."]

    monkeypatch.setattr(point, "simulator_bound", late)
    measured = auditor.audit(caching_suite("of: offline, threshold: 0.9"))

    assert measured.outcome == "pass", measured.report()
    assert {"simulator", "simulator-bound"} <= labels(measured)
    assert measured.summary.detail.explanation.endswith("In phase 'reference' the simulator was late.")
    assert seen == [phase.label for phase in measured.summary.phases]
