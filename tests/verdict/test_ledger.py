import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_bench.verdict.events import (
    Collected,
    Deselected,
    Expectation,
    Fault,
    Interrupted,
    Report,
    Selected,
    Withheld,
    WorkerCrashed,
)
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason
from pytest_bench.verdict.verdict import exit_status

A, B = "s/perf/a", "s/perf/b"


def codes(verdict, name=A):
    return [reason.code for point in verdict.points if point.id == name for reason in point.reasons]


def outcomes(verdict):
    return {point.id: point.outcome.value for point in verdict.points}


def faults(verdict):
    return [fault.code for fault in verdict.faults]


def test_a_session_in_which_everything_happened_passes(green):
    verdict = green(A, B).settle()
    assert verdict.status == "pass"
    assert verdict.coverage.complete
    assert verdict.faults == ()
    assert verdict.counts == {"pass": 2}
    assert exit_status(verdict) == 0
    assert verdict.points[0].evidence == f"points/{A}"
    assert verdict.points[0].evidence_digest == f"evidence of {A}"
    assert verdict.points[0].bounds[0].measured == 150e6


def needed(story):
    return [*story.events, *story.evidence.values(), *story.leases]


def test_any_one_thing_missing_is_not_a_pass(green):
    story = green(A, B)
    for thing in needed(story):
        verdict = story.without(thing).settle()
        assert verdict.status in {"error", "incomplete"}, thing
        assert exit_status(verdict) != 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # the fixture holds no state
@given(data=st.data())
def test_no_proper_subset_of_what_is_needed_is_a_pass(green, data):
    story = green(A, B)
    lost = data.draw(st.lists(st.sampled_from(needed(story)), min_size=1))
    assert story.without(*lost).settle().status != "pass"


HARMLESS = {
    ("Collected", "worker"),
    ("Report", "detail"),
    ("Report", "duration_s"),
    ("Lease", "worker"),
    ("Lease", "resource"),
    ("Lease", "boot_id"),
    ("EvidenceCheck", "path"),
    ("EvidenceCheck", "digest"),
    ("Judgement", "reasons"),
    ("Judgement", "labels"),
    ("JudgedBound", "sentence"),
    ("Bound", "metric"),
    ("Bound", "text"),
    ("Bound", "origin"),
}
"""Fields that say nothing about whether a point passed."""


OTHERS = {
    ("Report", "outcome"): ["passed", "failed", "skipped"],
    ("Report", "stage"): ["setup", "call", "teardown"],
    ("EvidenceCheck", "errors"): [("altered",)],
    ("EvidenceCheck", "requests_ns"): [(-1, 50), (50, 201)],
    ("Lease", "scope"): ["endpoint", "host"],
    ("Lease", "start_ns"): [10**9],
    ("Lease", "end_ns"): [None],
    ("JudgedBound", "measured"): [1e18],
    ("Bound", "comparison"): [">=", "=="],
    ("Bound", "limit"): [-1.0],
}
"""Values that a field could have, where they do not follow from its type."""


def others(name, old):
    if name in OTHERS:
        return [new for new in OTHERS[name] if new != old]
    return {
        str: [f"{old}?"],
        int: [old + 1, -1] if isinstance(old, int) else [],
        float: [1.0],
        bool: [not old],
        Outcome: [other for other in Outcome if other is not old],
        type(None): [],
        tuple: [],
    }[type(old)]


def corruptions(value):
    """Structs like `value` with one field changed, nested ones included, with the name of the field."""
    for field in msgspec.structs.fields(value):
        old = getattr(value, field.name)
        if isinstance(old, msgspec.Struct):
            changed = corruptions(old)
        elif isinstance(old, tuple) and old and isinstance(old[0], msgspec.Struct):
            changed = ((name, (new, *old[1:])) for name, new in corruptions(old[0]))
        else:
            name = (type(value).__name__, field.name)
            changed = ((name, new) for new in others(name, old))
        for inner, new in changed:
            yield inner, msgspec.structs.replace(value, **{field.name: new})


def test_any_single_field_of_a_green_session_changed_is_not_a_pass(green):
    story = green(A, B)
    tried = set()
    for thing in needed(story):
        for name, corrupted in corruptions(thing):
            tried.add(name)
            verdict = story.swap(thing, corrupted).settle()
            assert (verdict.status != "pass") or name in HARMLESS, (name, corrupted)
    assert {
        ("Report", "worker"),
        ("EvidenceCheck", "nonce"),
        ("Judgement", "outcome"),
        ("Lease", "scope"),
        ("JudgedBound", "state"),
        ("JudgedBound", "measured"),
        ("Bound", "limit"),
    } <= tried


def test_a_point_that_never_reported_is_missing(green):
    story = green(A, B)
    silent = [item for item in story.events if isinstance(item, Report) and item.point == A]
    verdict = story.without(*silent, story.evidence[A]).settle()
    assert outcomes(verdict) == {A: "missing", B: "pass"}
    assert verdict.status == "incomplete"


def test_a_selection_by_the_user_is_partial_and_lists_the_excluded_points(green):
    verdict = chosen(green(A, B), A).settle()
    assert verdict.status == "pass"
    assert not verdict.coverage.complete
    assert verdict.coverage.left_out == (B,)
    assert outcomes(verdict) == {A: "pass"}
    assert exit_status(verdict) == 0


def chosen(story, *names):
    """The same session after the user's selection left everything else out."""
    out = [point.id for point in story.expected if point.id not in names]
    gone = [item for item in needed(story) if item.point in out and not isinstance(item, Collected)]
    return story.without(*gone).plus(*(Deselected(point=name) for name in out))


def test_under_complete_points_that_the_selection_excludes_are_missing(green):
    verdict = chosen(green(A, B), A).facts(complete=True).settle()
    assert outcomes(verdict) == {A: "pass", B: "missing"}
    assert codes(verdict, B) == ["left-out"]
    assert exit_status(verdict) == 1


def test_a_selection_that_excludes_every_point_is_red(green):
    verdict = chosen(green(A, B)).settle()
    assert verdict.status == "error"
    assert faults(verdict) == ["nothing-selected"]


def test_a_point_that_something_else_removed_is_red(green):
    story = green(A, B)
    gone = [item for item in needed(story) if item.point == A and not isinstance(item, Collected)]
    verdict = story.without(*gone).settle()
    assert codes(verdict) == ["removed"]
    assert verdict.status == "error"


def test_a_point_both_selected_and_deselected_is_red(green):
    assert "contradiction" in codes(green(A).plus(Deselected(point=A)).settle())


def test_an_excluded_point_that_ran_is_red(green):
    story = green(A, B)
    verdict = story.without(Selected(point=B)).plus(Deselected(point=B)).settle()
    assert faults(verdict) == ["ran-though-left-out"]


def test_two_judging_items_for_one_point_are_red(green):
    assert codes(green(A).plus(Collected(point=A, worker="main")).settle()) == ["collected-twice"]


def test_every_process_may_collect_a_point_once(green):
    story = green(A).plus(Collected(point=A, worker="gw0"), Collected(point=A, worker="gw1"))
    assert story.settle().status == "pass"


def test_a_plan_without_points_is_red(green):
    assert faults(green().settle()) == ["no-points"]


@pytest.mark.parametrize("stage", ["setup", "call", "teardown"])
def test_more_than_one_report_of_a_stage_is_red(green, stage):
    story = green(A)
    assert "duplicate" in codes(story.plus(story.report(A, stage)).settle())


def test_a_rerun_is_red_even_if_it_passed(green):
    story = green(A)
    call = story.report(A, "call")
    assert codes(story.swap(call, msgspec.structs.replace(call, attempt=2)).settle()) == ["rerun"]


@pytest.mark.parametrize("stage", ["setup", "call"])
def test_a_skip_is_red(green, stage):
    story = green(A)
    report = story.report(A, stage)
    skipped = msgspec.structs.replace(report, outcome="skipped", judgement=None, detail="no GPU")
    verdict = story.swap(report, skipped).settle()
    assert "skipped" in codes(verdict)
    assert verdict.status == "error"


def test_a_point_marked_xfail_is_red_whether_it_failed_or_not(green):
    story = green(A)
    call = story.report(A, "call")
    assert codes(story.swap(call, msgspec.structs.replace(call, xfail=True)).settle()) == ["xfail"]


def test_a_call_that_passed_without_being_judged_is_red(green):
    story = green(A)
    call = story.report(A, "call")
    verdict = story.swap(call, msgspec.structs.replace(call, judgement=None)).settle()
    assert codes(verdict)[0] == "unjudged"


def failing(story, judgement, *, call="failed"):
    """The same session after point A was judged otherwise."""
    report = story.report(A, "call")
    story = story.swap(report, msgspec.structs.replace(report, outcome=call, judgement=judgement))
    return story.swap(
        story.evidence[A], msgspec.structs.replace(story.evidence[A], outcome=judgement.outcome)
    ).facts(pytest_exit_status=1)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(Outcome.FAIL, "fail"), (Outcome.INCONCLUSIVE, "inconclusive"), (Outcome.ERROR, "error")],
)
def test_the_outcome_of_a_failed_point_decides_the_status_of_the_session(green, outcome, status):
    said = Judgement(outcome=outcome, reasons=(Reason("why", "because"),))
    verdict = failing(green(A, B), said).settle()
    assert outcomes(verdict) == {A: outcome.value, B: "pass"}
    assert verdict.status == status
    assert codes(verdict) == ["why"]


def test_a_test_function_that_ignores_a_failed_judgement_does_not_make_it_pass(green):
    said = Judgement(outcome=Outcome.FAIL, reasons=(Reason("why", "because"),))
    verdict = failing(green(A), said, call="passed").settle()
    assert outcomes(verdict) == {A: "fail"}


def test_a_users_own_failing_assertion_fails_a_point_that_met_its_bounds(green, good):
    verdict = failing(green(A), good).settle()
    assert outcomes(verdict) == {A: "fail"}
    assert codes(verdict) == ["test-failed"]


def test_a_failed_tear_down_is_red(green):
    story = green(A)
    report = story.report(A, "teardown")
    verdict = story.swap(report, msgspec.structs.replace(report, outcome="failed", detail="boom")).settle()
    assert codes(verdict) == ["teardown-failed"]


def test_a_failed_set_up_gives_its_reason_once(green):
    story = green(A)
    said = Judgement(outcome=Outcome.ERROR, reasons=(Reason("endpoint", "nothing listens there"),))
    setup = story.report(A, "setup")
    story = story.swap(setup, msgspec.structs.replace(setup, outcome="failed", judgement=said))
    story = story.without(story.report(A, "call"), story.evidence[A], *story.leases).facts(
        pytest_exit_status=1
    )
    verdict = story.settle()
    assert codes(verdict) == ["endpoint"]
    assert verdict.status == "error"


def test_a_point_withheld_after_an_audit_is_missing_with_the_reason(green):
    story = green(A, B)
    gone = [item for item in needed(story) if item.point == B and not isinstance(item, (Collected, Selected))]
    verdict = (
        story.without(*gone).plus(Withheld(point=B, sentence="the audit before it ended in error")).settle()
    )
    assert outcomes(verdict) == {A: "pass", B: "missing"}
    assert codes(verdict, B) == ["withheld"]


def test_a_withheld_point_that_ran_is_a_contradiction(green):
    assert codes(green(A).plus(Withheld(point=A, sentence="x")).settle()) == ["contradiction"]


def test_evidence_of_another_session_is_refused(green):
    story = green(A)
    old = msgspec.structs.replace(story.evidence[A], nonce="of yesterday")
    verdict = story.swap(story.evidence[A], old).settle()
    assert codes(verdict) == ["evidence-mismatch"]
    assert "nonce is of yesterday, expected n0" in verdict.points[0].reasons[0].sentence


def test_every_error_of_the_evidence_is_shown(green):
    story = green(A)
    bad = msgspec.structs.replace(story.evidence[A], errors=("one", "two"))
    verdict = story.swap(story.evidence[A], bad).settle()
    assert [reason.sentence for reason in verdict.points[0].reasons] == ["one", "two"]


def test_leases_that_overlap_make_both_points_red(green):
    story = green(A, B)
    longer = [
        msgspec.structs.replace(lease, end_ns=150) if lease.point == A and lease.scope == "host" else lease
        for lease in story.leases
    ]
    verdict = msgspec.structs.replace(story, leases=longer).settle()
    assert codes(verdict, A) == codes(verdict, B) == ["overlap"]


def test_leases_of_two_machines_do_not_overlap(green):
    story = green(A, B)
    apart = [
        msgspec.structs.replace(lease, start_ns=0, end_ns=200, boot_id=lease.point) for lease in story.leases
    ]
    assert msgspec.structs.replace(story, leases=apart).settle().status == "pass"


def test_leases_on_different_resources_may_overlap(green):
    story = green(A, B)
    apart = [
        msgspec.structs.replace(lease, start_ns=0, end_ns=200, resource=lease.point) for lease in story.leases
    ]
    assert msgspec.structs.replace(story, leases=apart).settle().status == "pass"


def test_the_leases_of_one_run_may_nest(green):
    story = green(A)
    inner = msgspec.structs.replace(story.leases[0], start_ns=10, end_ns=20)
    assert msgspec.structs.replace(story, leases=[*story.leases, inner]).settle().status == "pass"


def test_a_lease_that_was_never_released_overlaps_all_later_ones(green):
    story = green(A, B)
    held = msgspec.structs.replace(story.leases[0], end_ns=None)
    verdict = story.swap(story.leases[0], held).settle()
    assert set(codes(verdict, A)) == {"overlap", "lease"}
    assert codes(verdict, B) == ["overlap"]


def of_endpoint(lease, *intervals):
    """Leases like one of a point's endpoint, with other times."""
    return [
        msgspec.structs.replace(lease, start_ns=start_ns, end_ns=end_ns, scope="endpoint")
        for start_ns, end_ns in intervals
    ]


@pytest.mark.parametrize(
    "intervals",
    [
        pytest.param([(0, 9)], id="ends before the first request"),
        pytest.param([(0, 89)], id="ends before the last request"),
        pytest.param([(11, 100)], id="begins after the first request"),
        pytest.param([(0, 50), (51, 100)], id="is released and taken again"),
    ],
)
def test_a_lease_that_does_not_cover_all_requests_makes_the_point_an_error(green, intervals):
    story = green(A)
    endpoint, host = story.leases
    verdict = msgspec.structs.replace(story, leases=[*of_endpoint(endpoint, *intervals), host]).settle()
    assert codes(verdict) == ["lease"]
    assert "endpoint it was not held from its first request" in verdict.points[0].reasons[0].sentence


def test_the_leases_of_starting_a_deployment_need_not_cover_the_requests(green):
    story = green(A)
    (before,) = of_endpoint(msgspec.structs.replace(story.leases[0], resource="another"), (-5, 0))
    assert msgspec.structs.replace(story, leases=[before, *story.leases]).settle().status == "pass"


def test_each_endpoint_that_a_point_held_must_be_held_during_all_its_requests(green):
    story = green(A)
    (short,) = of_endpoint(msgspec.structs.replace(story.leases[0], resource="replica"), (0, 50))
    verdict = msgspec.structs.replace(story, leases=[short, *story.leases]).settle()
    assert "endpoint replica was not held" in verdict.points[0].reasons[0].sentence


def test_a_point_whose_lease_was_lost_is_an_error(green):
    story = green(A, B)
    lost = msgspec.structs.replace(story.leases[0], lost=True)
    verdict = story.swap(story.leases[0], lost).settle()
    assert outcomes(verdict) == {A: "error", B: "pass"}
    assert codes(verdict) == ["lease"]


def test_a_crash_while_a_point_runs_is_an_error_of_the_point(green):
    verdict = green(A, B).plus(WorkerCrashed(worker="gw0", detail="signal 9", point=A)).settle()
    assert outcomes(verdict) == {A: "error", B: "pass"}
    assert verdict.faults == ()


def test_a_crash_without_a_point_is_a_fault_of_the_session(green):
    verdict = green(A).plus(WorkerCrashed(worker="gw0", detail="in conftest")).settle()
    assert outcomes(verdict) == {A: "pass"}
    assert faults(verdict) == ["worker-crashed"]
    assert verdict.status == "error"
    assert exit_status(verdict) == 1


def test_a_fault_belongs_to_its_point_or_to_the_session(green):
    verdict = green(A).plus(Fault(code="x", sentence="y", point=A), Fault(code="z", sentence="w")).settle()
    assert codes(verdict) == ["x"]
    assert faults(verdict) == ["z"]


def test_any_event_of_a_point_outside_the_plan_is_a_fault(green):
    story = green(A)
    stray = green("s/perf/stray")
    verdict = msgspec.structs.replace(
        story,
        events=[*story.events, *stray.events],
        evidence=story.evidence | stray.evidence,
        leases=[*story.leases, *(msgspec.structs.replace(item, resource="other") for item in stray.leases)],
    ).settle()
    assert faults(verdict) == ["unknown-point"] * 3


def test_a_point_that_the_plan_holds_twice_is_a_fault(green):
    story = green(A)
    assert faults(msgspec.structs.replace(story, expected=[*story.expected] * 2).settle()) == [
        "duplicate-point"
    ]


@pytest.mark.parametrize("status", [1, 2, 3, 4, 5, -9])
def test_a_verdict_is_never_better_than_pytests_own_exit_status(green, status):
    verdict = green(A).facts(pytest_exit_status=status).settle()
    assert faults(verdict) == ["pytest-exit"]
    assert exit_status(verdict) == 1


def test_an_interrupted_session_is_red_and_exits_2(green):
    verdict = green(A).facts(pytest_exit_status=2).plus(Interrupted()).settle()
    assert verdict.status == "error"
    assert exit_status(verdict) == 2


def expectation(points, plan_digest=None):
    return Expectation(points=points, plan_digest=plan_digest, digest="e")


def test_an_expectation_that_is_met_is_recorded(green):
    verdict = green(A).facts(expectation=expectation({A: f"digest of {A}"}, "plan")).settle()
    assert verdict.status == "pass"
    assert verdict.expectation_digest == "e"


def test_a_selection_must_not_exclude_expected_points(green):
    story = chosen(green(A, B), A).facts(expectation=expectation({A: None, B: None}))
    verdict = story.settle()
    assert outcomes(verdict) == {A: "pass", B: "missing"}
    assert verdict.status == "incomplete"


def test_a_selection_may_exclude_points_that_are_not_expected(green):
    verdict = chosen(green(A, B), A).facts(expectation=expectation({A: None})).settle()
    assert verdict.status == "pass"


def test_a_point_that_no_suite_declares_but_the_expectation_names_is_missing(green):
    verdict = green(A).facts(expectation=expectation({A: None, "s/perf/gone": None})).settle()
    assert outcomes(verdict) == {A: "pass", "s/perf/gone": "missing"}
    assert codes(verdict, "s/perf/gone") == ["not-declared"]


def test_a_point_with_another_digest_than_expected_is_red(green):
    assert codes(green(A).facts(expectation=expectation({A: "another"})).settle()) == ["other-than-expected"]


def test_an_expectation_of_another_plan_is_a_fault(green):
    verdict = green(A).facts(expectation=expectation({A: None}, "another")).settle()
    assert faults(verdict) == ["other-plan"]


def labelled(good, *labels):
    return msgspec.structs.replace(good, labels=labels)


@pytest.mark.parametrize(("complete", "status"), [(False, "pass"), (True, "error")])
def test_an_unbounded_point_passes_and_is_red_under_complete(green, good, complete, status):
    verdict = green(A, judgement=labelled(good, "unbounded")).facts(complete=complete).settle()
    assert verdict.status == status
    assert verdict.points[0].labels == ("unbounded",)


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({}, "pass"),
        ({"complete": True}, "error"),
        ({"expectation": expectation({A: None})}, "error"),
        ({"complete": True, "accepted_labels": ("simulator",)}, "pass"),
    ],
)
def test_the_simulator_is_red_under_complete_unless_requested(green, good, facts, status):
    verdict = green(A, judgement=labelled(good, "simulator")).facts(**facts).settle()
    assert verdict.status == status


@pytest.mark.parametrize("label", ["cache-shared", "unofficial"])
def test_other_labels_do_not_change_the_verdict(green, good, label):
    verdict = green(A, judgement=labelled(good, label)).facts(complete=True).settle()
    assert verdict.status == "pass"
    assert verdict.points[0].labels == (label,)


def test_reports_of_two_processes_for_one_point_are_red(green):
    story = green(A)
    report = story.report(A, "teardown")
    verdict = story.swap(report, msgspec.structs.replace(report, worker="gw1")).settle()
    assert codes(verdict) == ["several-workers"]


def test_the_worst_outcome_gives_the_status(green):
    said = Judgement(outcome=Outcome.FAIL, reasons=(Reason("why", "because"),))
    story = failing(green(A, B), said)
    silent = [item for item in story.events if isinstance(item, Report) and item.point == B]
    assert story.without(*silent).settle().status == "incomplete"
    assert story.plus(Fault(code="x", sentence="y", point=B)).settle().status == "error"
