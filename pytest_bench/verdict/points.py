"""How the reports, evidence and leases of one point become its outcome.

A point passes only with exactly one passed report of each stage, from one worker, a judgement that says
`pass` and does not contradict itself, evidence that re-verifies, and leases that show it ran alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import msgspec

from pytest_bench.verdict.events import EvidenceCheck, ExpectedPoint, Report, SessionFacts, Stage
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason

MEASURED = frozenset({Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE})
"""Outcomes that claim a measurement, which evidence must back."""


class LabelRule(NamedTuple):
    """When a label makes a passing point red."""

    under: Literal["complete", "complete or expect"]
    """The option that the session was given."""
    unless_asked: bool
    """Not if the command line itself (not PYTEST_ADDOPTS or a configuration file) asks for the label."""
    sentence: str


LABEL_RULES: dict[str, LabelRule] = {
    "unbounded": LabelRule(
        "complete",
        unless_asked=False,
        sentence="under --complete every point must have something to meet: declare a bound for it",
    ),
    "simulator": LabelRule(
        "complete or expect",
        unless_asked=True,
        sentence="what answered is the built-in simulator, whatever its URL, and no model: give the URL of a model's "
        "server, or say --endpoint=simulator on the command line if the simulator is meant",
    ),
    "shortened": LabelRule(
        "complete or expect",
        unless_asked=True,
        sentence="its durations were scaled by --duration-scale, which the command line itself does not give: remove "
        "it from PYTEST_ADDOPTS and the configuration file, or give it on the command line if it is meant",
    ),
}
"""Every other label is information only."""


class Finding(msgspec.Struct, frozen=True):
    """One reason why a point does not pass, and how bad it makes it."""

    outcome: Outcome
    reason: Reason


def error(code: str, sentence: str) -> Finding:
    return Finding(Outcome.ERROR, Reason(code, sentence))


def missing(code: str, sentence: str) -> Finding:
    return Finding(Outcome.MISSING, Reason(code, sentence))


def judgement_of(reports: Sequence[Report]) -> Judgement | None:
    """What the point says of itself: on its call report, or where there is none on its set-up report."""
    for stage in ("call", "setup"):
        for report in reports:
            if report.stage == stage and report.judgement is not None:
                return report.judgement
    return None


def findings_of_reports(reports: Sequence[Report], *, interrupted: bool) -> Iterator[Finding]:
    """Everything in a point's reports that keeps it from passing; `interrupted`: the session was."""
    if not reports:
        yield missing(
            "missing", "selected, but never reported: the session ended before it, or something skipped it"
        )
        return
    if interrupted and not any(report.stage == "teardown" for report in reports):
        yield error("cut-off", "was running when the session was interrupted")
        return
    workers = sorted({report.worker for report in reports})
    if len(workers) > 1:
        yield error(
            "several-workers", f"reported by several processes ({', '.join(workers)}): expected exactly one"
        )
    for report in reports:
        if report.attempt != 1:
            yield error("rerun", f"its {report.stage} was attempt {report.attempt}: a rerun hides a failure")
        if report.xfail:
            yield error(
                "xfail", "marked xfail: a point that may fail is no point; remove the mark or the point"
            )
        if report.outcome == "skipped":
            yield error(
                "skipped",
                f"skipped in {report.stage}{_because(report)}: deselect it with -k if it is not wanted",
            )
    yield from _stages(reports)
    yield from _judgement(reports)


def _stages(reports: Sequence[Report]) -> Iterator[Finding]:
    stages = {stage: [item for item in reports if item.stage == stage] for stage in get_args(Stage)}
    stopped_early = any(report.outcome != "passed" for report in stages["setup"])
    for stage, found in stages.items():
        if len(found) > 1:
            yield error("duplicate", f"{len(found)} {stage} reports: expected exactly one")
        if not found and not (stage == "call" and stopped_early):
            yield error(
                "incomplete", f"no {stage} report: its process ended before that, or its report was lost"
            )
        for report in found:
            if report.outcome == "failed" and (
                stage == "teardown" or (stage == "setup" and not report.judgement)
            ):
                yield error(f"{stage}-failed", f"its {stage} failed{_because(report)}")


def _judgement(reports: Sequence[Report]) -> Iterator[Finding]:
    judgement = judgement_of(reports)
    calls = [report for report in reports if report.stage == "call" and report.outcome != "skipped"]
    call_failed = any(report.outcome == "failed" for report in calls)
    if judgement is None:
        for report in calls:
            yield error("unjudged", f"its call {report.outcome} without a judgement{_because(report)}")
    elif judgement.outcome is not Outcome.PASS:
        reasons = judgement.reasons or (
            Reason("unexplained", f"it ended {judgement.outcome} and gave no reason"),
        )
        yield from (Finding(judgement.outcome, reason) for reason in reasons)
    else:
        for judged in judgement.bounds:
            if not judged.is_met():
                yield error(
                    "contradiction", f"says it passed, but one of its bounds is not met: {judged.sentence}"
                )
        if call_failed:
            detail = "; ".join(report.detail for report in calls if report.detail) or "no detail"
            reason = Reason("test-failed", f"its bounds are met, but its test function failed: {detail}")
            yield Finding(Outcome.FAIL, reason)


def findings_of_evidence(
    point: ExpectedPoint, judgement: Judgement | None, check: EvidenceCheck | None, nonce: str
) -> Iterator[Finding]:
    """Everything in a point's evidence that contradicts what it says of itself."""
    if judgement is None or judgement.outcome not in MEASURED:
        return
    if check is None:
        yield error("no-evidence", f"says {judgement.outcome}, but has no evidence folder to show for it")
        return
    for sentence in check.errors:
        yield error("evidence", sentence)
    if not check.errors:
        said = contradictions(
            check, point=point.id, point_digest=point.digest, nonce=nonce, outcome=judgement.outcome
        )
        yield from (error("evidence-mismatch", sentence) for sentence in said)


def findings_of_labels(labels: Sequence[str], session: SessionFacts) -> Iterator[Finding]:
    """Labels that this session does not accept on a passing point."""
    given = {
        "complete": session.complete,
        "complete or expect": session.complete or session.expectation is not None,
    }
    for label in labels:
        rule = LABEL_RULES.get(label)
        accepted = rule is None or (rule.unless_asked and label in session.accepted_labels)
        if rule is not None and given[rule.under] and not accepted:
            yield error(label, rule.sentence)


def contradictions(
    check: EvidenceCheck, *, point: str, point_digest: str, nonce: str, outcome: Outcome
) -> Iterator[str]:
    """In what whole evidence differs from what it should be evidence of, a sentence each."""
    comparisons: tuple[tuple[str, str | None, str], ...] = (
        ("point", check.point, point),
        ("point digest", check.point_digest, point_digest),
        ("nonce", check.nonce, nonce),
        ("outcome", check.outcome, outcome),
    )
    for what, found, wanted in comparisons:
        if found != wanted:
            yield (
                f"{check.path}/evidence.json: its {what} is {found}, expected {wanted}: "
                "it is the evidence of something else"
            )
    if check.digest is None:
        yield f"{check.path}/evidence.json: was never read"


def _because(report: Report) -> str:
    return f" ({report.detail})" if report.detail else ""
