"""Findings about one point: from its reports and its evidence.

A point passes only with exactly one passed report of each stage, all from one worker, a consistent judgement `pass`,
and intact evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import msgspec

from pytest_bench.labels import Label
from pytest_bench.verdict.events import EvidenceCheck, ExpectedPoint, Report, SessionRecord, Stage
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason

MEASURED = frozenset({Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE})
"""Outcomes of a measurement, which require evidence."""


class LabelRule(NamedTuple):
    """The conditions under which a label makes a passing point red."""

    under: Literal["complete", "complete or expect"]
    """The options of the session under which the rule applies."""
    unless_asked: bool
    """Whether the rule is waived if the command line itself (not PYTEST_ADDOPTS or a configuration file) accepts the
    label."""
    sentence: str


LABEL_RULES: dict[str, LabelRule] = {
    Label.UNBOUNDED: LabelRule(
        "complete",
        unless_asked=False,
        sentence="--complete requires at least one bound for every point: declare a bound for it",
    ),
    Label.LIMITED: LabelRule(
        "complete",
        unless_asked=False,
        sentence="--complete requires every item of an eval, and --eval-limit or its `limit` left some out: remove it",
    ),
    Label.CONCURRENCY_UNPROVEN: LabelRule(
        "complete",
        unless_asked=False,
        sentence="--complete requires a proven concurrency: let the command of the eval write the one it used",
    ),
    Label.SIMULATOR: LabelRule(
        "complete or expect",
        unless_asked=True,
        sentence="the endpoint is the built-in simulator, not a model: give the URL of a model's server, or set "
        "--endpoint=simulator on the command line if you mean the simulator",
    ),
    Label.SHORTENED: LabelRule(
        "complete or expect",
        unless_asked=True,
        sentence="its durations were scaled by --duration-scale, which is not on the command line: remove it from "
        "PYTEST_ADDOPTS and the configuration file, or give it on the command line if you mean it",
    ),
}
"""All other labels are only informative."""


class Finding(msgspec.Struct, frozen=True):
    """One reason why a point does not pass, and the resulting outcome."""

    outcome: Outcome
    reason: Reason


def error(code: str, sentence: str) -> Finding:
    return Finding(Outcome.ERROR, Reason(code, sentence))


def missing(code: str, sentence: str) -> Finding:
    return Finding(Outcome.MISSING, Reason(code, sentence))


def judgement_of(reports: Sequence[Report]) -> Judgement | None:
    """Return the point's judgement, from its call report or else from its set-up report."""
    for stage in ("call", "setup"):
        for report in reports:
            if report.stage == stage and report.judgement is not None:
                return report.judgement
    return None


def findings_of_reports(reports: Sequence[Report], *, interrupted: bool) -> Iterator[Finding]:
    """Yield each finding in a point's reports; `interrupted` says whether the session was interrupted."""
    if not reports:
        yield missing(
            "missing", "selected, but not reported: the session ended before it ran, or something skipped it"
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
                "xfail",
                "marked xfail: a point must be able to fail the session; remove the mark or the point",
            )
        if report.outcome == "skipped":
            yield error(
                "skipped",
                f"skipped in {report.stage}{_because(report)}: to leave it out, deselect it with -k",
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
            yield error("incomplete", f"no {stage} report: its process ended early, or the report was lost")
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
            yield error(
                "unjudged", f"its test function {report.outcome} without a judgement{_because(report)}"
            )
    elif judgement.outcome is not Outcome.PASS:
        reasons = judgement.reasons or (
            Reason("unexplained", f"it ended {judgement.outcome} without a reason"),
        )
        yield from (Finding(judgement.outcome, reason) for reason in reasons)
    else:
        for judged in judgement.bounds:
            if not judged.is_met():
                yield error(
                    "contradiction",
                    f"its judgement is pass, but one of its bounds is not met: {judged.sentence}",
                )
        if call_failed:
            detail = "; ".join(report.detail for report in calls if report.detail) or "no detail"
            reason = Reason("test-failed", f"its bounds are met, but its test function failed: {detail}")
            yield Finding(Outcome.FAIL, reason)


def findings_of_evidence(
    point: ExpectedPoint, judgement: Judgement | None, check: EvidenceCheck | None, nonce: str
) -> Iterator[Finding]:
    """Yield each contradiction between a point's evidence and its judgement."""
    if judgement is None or judgement.outcome not in MEASURED:
        return
    if check is None:
        yield error("no-evidence", f"its judgement is {judgement.outcome}, but it has no evidence folder")
        return
    for sentence in check.errors:
        yield error("evidence", sentence)
    if not check.errors:
        contradicting = contradictions(
            check, point=point.id, point_digest=point.digest, nonce=nonce, outcome=judgement.outcome
        )
        yield from (error("evidence-mismatch", sentence) for sentence in contradicting)


def findings_of_labels(labels: Sequence[str], session: SessionRecord) -> Iterator[Finding]:
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
    """Yield a sentence for each field in which intact evidence differs from the expected point or session."""
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
                "it is evidence of something else"
            )
    if check.digest is None:
        yield f"{check.path}/evidence.json: was not read"


def _because(report: Report) -> str:
    return f" ({report.detail})" if report.detail else ""
