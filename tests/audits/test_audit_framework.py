"""The framework: audits are data and a pure check, found by id and validated before anything runs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from audit_runs import run
from phase_results import phase_result

import pytest_bench
from pytest_bench.audits import (
    AuditFields,
    AuditPhase,
    AuditPlan,
    AuditResult,
    Setting,
    artifacts,
    checking,
    driving,
    output_caching,
    registry,
)
from pytest_bench.errors import SuiteError, UsageError
from pytest_bench.running.measuring import untrustworthy
from pytest_bench.suite.plan import DeploymentPlan, Point
from pytest_bench.workload import Load, SampleOrder

PACKAGE = Path(pytest_bench.__file__).parent


class Halves(AuditFields):
    """The fields of an audit that this test adds."""

    half: int


class Halving:
    """A third party's audit: one module, one registration."""

    id = "halving"
    artifact = "halving_test"
    fields = Halves
    patterns = frozenset({"burst"})

    def plan(self, setting):
        half = setting.fields(Halves).half
        return AuditPlan(phases=(AuditPhase(label="half", requests=half, samples=setting.distinct(half)),))

    def validate(self, setting):
        if setting.fields(Halves).half % 2:
            raise setting.refusal("half of an odd number")

    def verify(self, setting, findings):
        completed = findings.runs["half"].completed
        passed = completed == setting.fields(Halves).half
        return AuditResult(passed=passed, reason=f"{completed}", explanation="", lines=("TEST PASS",))


def setting(load=None, rows=40, options=None, **more):
    load = load or Load(pattern="burst", requests=8, concurrency=4)
    point = Point(
        id="s/audit/a",
        suite="s",
        kind="audit",
        name="a",
        origin="suite.yaml:1:1",
        dataset="prompts",
        load=load,
        options={"test": "output-caching", **(options or {})},
    )
    deployment = DeploymentPlan(
        suite="s", api="videos", api_reference="", model="m", endpoints=("simulator",)
    )
    return Setting(
        point=point, deployment=deployment, load=load, streaming=False, rows=rows, **{"count": rows, **more}
    )


# The registry.


def test_an_unknown_id_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match=r"output-consistency.*did you mean 'output-caching'"):
        registry().find("output-cachin")


def test_a_suite_with_an_unknown_audit_is_refused_with_its_position(auditor, caching_suite):
    with pytest.raises(SuiteError, match=r"suite\.yaml:\d+:\d+: .*accuracy-in-performance"):
        auditor.plan(caching_suite().replace("test: output-caching", "test: accuracy-in-performence"))


@pytest.mark.parametrize("name", ["id", "artifact"])
def test_two_audits_with_one_name_are_refused(name):
    twin = Halving()
    setattr(twin, name, getattr(output_caching.OutputCaching, name))

    with pytest.raises(UsageError, match=r"OutputCaching and .*Halving|OutputCaching and Halving"):
        registry([twin])


def test_a_third_party_audit_runs_like_a_shipped_one(auditor, caching_suite):
    auditor.audits = registry([Halving()])

    measured = auditor.audit(
        caching_suite().replace("test: output-caching, of", "test: halving, half: 4, of")
    )

    assert measured.outcome == "pass", measured.report()
    assert json.loads((measured.folder / "audit_halving_test.json").read_text())["passed"] is True


@pytest.mark.parametrize("room", ["load", "suite", "plugin", "running", "perf", "metrics", "verdict", "api"])
def test_no_other_package_names_an_audit(room):
    audits = [registry().find(name) for name in registry().words()]
    names = [name for audit in audits for name in (audit.id, audit.artifact, type(audit).__name__)]
    known = re.compile("|".join([*names, r"TEST0\d"]))

    for path in (PACKAGE / room).rglob("*.py"):
        assert not known.search(path.read_text()), f"{path} names an audit"


# What every audit is refused for, before its first request.


@dataclasses.dataclass
class Fixed:
    """An audit that asks for just these phases."""

    phases: tuple[AuditPhase, ...]
    files: dict[str, Path] = dataclasses.field(default_factory=dict)
    id = "fixed"
    artifact = "fixed_test"
    fields = AuditFields
    patterns = frozenset({"burst", "concurrency"})

    def validate(self, setting):
        pass


def check(*phases, where=None, **files):
    where = where or setting()
    checking.require_valid(Fixed(phases), where, AuditPlan(phases=phases, files=files))


def phase(label="one", requests=4, samples=None, **more):
    return AuditPhase(label=label, requests=requests, samples=samples or SampleOrder(count=40), **more)


@pytest.mark.parametrize(
    ("phases", "complaint"),
    [
        ([phase(), phase()], "distinct names"),
        ([phase("../up")], "distinct names"),
        ([phase(requests=0)], "1 or more"),
        ([phase(requests=41)], "41 distinct samples"),
        ([phase(samples=SampleOrder(count=41))], "rows 0 to 40"),
        ([phase(samples=SampleOrder(order="single", count=40, index=40))], "rows 0 to 39"),
        ([phase(), phase("two", reset_cache=True)], "deployment.cache_reset"),
    ],
)
def test_phases_that_cannot_be_driven_are_refused(phases, complaint):
    with pytest.raises(UsageError, match=complaint):
        check(*phases)


@pytest.mark.parametrize("pattern", ["constant", "poisson"])
def test_a_paced_load_is_refused_because_pacing_hides_the_effect(pattern):
    with pytest.raises(UsageError, match="cannot detect"):
        check(phase(), where=setting(Load(pattern=pattern, rate=1.0, requests=4)))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a file"):
        check(result=tmp_path / "missing.json")


def test_a_load_that_ramps_up_is_refused_if_rates_are_compared():
    growing = setting(Load(pattern="concurrency", concurrency=4, requests=8, ramp_s=1.0))

    for audit in ("output-caching", "accuracy-in-performance"):
        with pytest.raises(UsageError, match="without it"):
            registry().find(audit).validate(growing)


def test_phases_that_would_run_at_different_loads_are_refused():
    load = Load(pattern="concurrency", concurrency=16, requests=32)

    with pytest.raises(UsageError, match=r"phases of 32 and 8 requests.*expected at least 16 requests"):
        output_caching.OutputCaching().validate(setting(load, options={"audit_samples": 8}))
    output_caching.OutputCaching().validate(setting(load, options={"audit_samples": 16}))


def test_a_fixed_sample_may_be_repeated_more_often_than_there_are_rows():
    check(phase(requests=400, samples=SampleOrder(order="single", count=40, index=3)))


# Phases and loads.


def test_samples_come_from_those_reserved_for_the_point_if_they_suffice():
    inside = setting(first=10, count=20).distinct(20)
    outside = setting(first=10, count=20).distinct(21)

    assert (inside.first, inside.count) == (10, 20)
    assert (outside.first, outside.count) == (0, 40)


@pytest.mark.parametrize(
    ("load", "longest_s"),
    [
        (Load(pattern="concurrency", concurrency=2, requests=9, duration_s=5.0), 5.0),
        (Load(pattern="concurrency", concurrency=2, requests=9, duration_s=5.0, stop="and"), None),
        (Load(pattern="concurrency", concurrency=2, duration_s=5.0), None),
    ],
)
def test_the_count_ends_a_phase_and_only_a_maximum_duration_cuts_it_off(load, longest_s):
    driven = checking.phase_load(load, phase(requests=7))

    assert (driven.requests, driven.duration_s, driven.stop) == (7, longest_s, "or")


def test_no_more_requests_are_in_flight_than_a_phase_has():
    load = Load(pattern="concurrency", concurrency=64, requests=100)

    assert checking.phase_load(load, phase(requests=20)).concurrency == 20


def test_a_phase_may_declare_its_own_closed_loop():
    driven = checking.phase_load(Load(pattern="burst", requests=100), phase(requests=20, concurrency=1))

    assert (driven.pattern, driven.concurrency, driven.requests) == ("concurrency", 1, 20)


def test_a_cache_reset_or_a_change_of_streaming_starts_a_new_run_of_the_engine():
    one, two = phase("one"), phase("two")
    reset, whole = phase("reset", reset_cache=True), phase("whole", stream=False)

    assert driving.stretches([one, two, reset, whole]) == [[one, two], [reset], [whole]]


# Phases that cannot be judged.


def mixed_result(**changes):
    counts = {"issued": 4, "succeeded": 3, "failed": 1, "last_issue_ns": 1, "last_completion_ns": 9}
    return phase_result(**counts | changes)


def test_typed_failures_are_neither_incomplete_nor_lossy():
    assert not [*driving.uncertified([mixed_result()]), *untrustworthy([mixed_result()])]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"interrupted": 1, "issued": 5}, "interrupted"),
        ({"complete": False}, "incomplete"),
        ({"issued": 5}, "lossy"),
        ({"succeeded": 0, "failed": 4}, "zero-throughput"),
        ({"last_completion_ns": 0}, "zero-throughput"),
    ],
)
def test_a_phase_with_unaccounted_requests_is_an_error(changes, code):
    results = [mixed_result(**changes)]

    assert {reason.code for reason in [*driving.uncertified(results), *untrustworthy(results)]} == {code}


class Modes(Halving):
    """Reports how many outputs it got from each phase."""

    fields = AuditFields

    def plan(self, setting):
        return AuditPlan(
            phases=tuple(
                AuditPhase(label=mode, requests=2, samples=setting.distinct(2), mode=mode)
                for mode in ("perf", "accuracy", "both")
            )
        )

    def validate(self, setting):
        pass

    def verify(self, setting, findings):
        kept = {label: len(found.outputs) for label, found in findings.runs.items()}
        return AuditResult(passed=True, reason="", explanation="", lines=(), details=kept)


def test_only_accuracy_phases_pass_their_outputs_to_the_audit(auditor, caching_suite):
    auditor.audits = registry([Modes()])

    measured = auditor.audit(caching_suite().replace("output-caching", "halving"))

    record = json.loads((measured.folder / "audit_halving_test.json").read_text())
    assert [record[mode] for mode in ("perf", "accuracy", "both")] == [0, 2, 2]
    assert [seen.label for seen in measured.summary.phases] == ["perf", "accuracy", "both"]


# Artifacts.


def test_the_record_is_written_before_the_lines_for_checkers(tmp_path):
    audit = output_caching.OutputCaching()
    (tmp_path / artifacts.text_name(audit)).mkdir()
    result = output_caching.judge(run(), run(), threshold=0.1, sample_index=3)

    with pytest.raises(OSError, match=r"verify_OUTPUT_CACHING_TEST\.txt"):
        artifacts.write_artifacts(tmp_path, audit, result, order="before the benchmark")

    assert json.loads((tmp_path / "audit_output_caching_test.json").read_text())["passed"] is True


def test_the_content_of_the_files_of_an_audit(tmp_path):
    reference = run(requested=100, seconds=1)
    result = output_caching.judge(
        reference, run("output_caching", requested=10, seconds=0.05), threshold=0.1, sample_index=3
    )
    artifacts.write_artifacts(tmp_path, output_caching.OutputCaching(), result, order="before the benchmark")

    assert (tmp_path / "verify_OUTPUT_CACHING_TEST.txt").read_text() == "Performance check pass: False\n"
    assert json.loads((tmp_path / "audit_output_caching_test.json").read_text()) == {
        "version": 1,
        "test": "output_caching_test",
        "passed": False,
        "reason": "audit_qps=200.0000 >= ref_qps * (1 + 10%) = 110.0000",
        "order": "before the benchmark",
        "ref_qps": 100.0,
        "audit_qps": 200.0,
        "threshold": 0.1,
        "ref_completed": 100,
        "ref_requested": 100,
        "audit_completed": 10,
        "audit_requested": 10,
        "sample_index": 3,
        "ratio": 2.0,
        "ratio_interval": None,
    }


# The how-to page.


def test_the_audit_of_the_how_to_page_runs(auditor, caching_suite):
    text = (PACKAGE.parent / "docs" / "how-to" / "write-an-audit.md").read_text()
    written = {"__name__": "written"}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], written)
    auditor.audits = registry(written["pytest_bench_audits"]())
    audit = "test: warm-latency, slowdown: 100, requests: 4, of: single-stream"

    measured = auditor.audit(caching_suite().replace("test: output-caching, of: offline", audit))

    assert measured.outcome == "pass", measured.report()
    assert (measured.folder / "verify_WARM_LATENCY_TEST.txt").read_text() == "TEST PASS\n"
