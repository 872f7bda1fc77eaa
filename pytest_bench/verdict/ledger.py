"""The ledger compares what was expected with what happened. Pure functions.

The request (plan, expectation) and the evidence come from independent sources. The ledger does not trust pytest's exit
status, a report, or a file alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pytest_bench.leases import Lease
from pytest_bench.verdict import leases as lease_rules
from pytest_bench.verdict.events import (
    Collected,
    Deselected,
    Event,
    EvidenceCheck,
    ExpectedPoint,
    Fault,
    Interrupted,
    Refused,
    Report,
    Selected,
    SessionRecord,
    Withheld,
    WorkerCrashed,
)
from pytest_bench.verdict.outcome import Outcome, Reason, worst
from pytest_bench.verdict.points import (
    Finding,
    error,
    findings_of_evidence,
    findings_of_labels,
    findings_of_reports,
    judgement_of,
    missing,
)
from pytest_bench.verdict.verdict import NOT_ENDED, Coverage, PointVerdict, Verdict, status_of


def decide(
    expected: Sequence[ExpectedPoint],
    events: Sequence[Event],
    evidence: Mapping[str, EvidenceCheck],
    session: SessionRecord,
) -> Verdict:
    """Decide the verdict of a session.

    `expected` is the plan, in order; `evidence` is the result of reading each point's folder again, by point id.
    A point does not pass if it was neither selected nor excluded by the user, or if any required event, file or lease
    is missing.
    """
    ledger = _Ledger(expected, events, evidence, session)
    points = (*ledger.points(), *ledger.points_expected_elsewhere())
    faults = tuple(dict.fromkeys(ledger.faults(points)))  # xdist workers may report the same fault
    return Verdict(
        status=status_of(points, faults),
        coverage=Coverage.of(points, ledger.left_out) if expected else Coverage(complete=False),
        nonce=session.nonce,
        points=points,
        faults=faults,
        counts=dict(Counter(point.outcome.value for point in points)),
        complete_required=session.complete,
        interrupted=ledger.interrupted,
        refused=ledger.refused,
        plan_digest=session.plan_digest,
        expectation_digest=session.expectation.digest if session.expectation else None,
        pytest_exit_status=session.pytest_exit_status,
        versions=session.versions,
        invocation=session.invocation,
        started=session.started,
        finished=session.finished,
    )


class _Ledger:
    """The events of a session, grouped by point."""

    def __init__(
        self,
        expected: Sequence[ExpectedPoint],
        events: Sequence[Event],
        evidence: Mapping[str, EvidenceCheck],
        session: SessionRecord,
    ) -> None:
        self.expected = expected
        self.evidence = evidence
        self.leases = lease_rules.latest(event for event in events if isinstance(event, Lease))
        self.session = session
        self.known = {point.id for point in expected}
        self.events = events
        self.interrupted = any(isinstance(event, Interrupted) for event in events)
        self.refused = any(isinstance(event, Refused) for event in events)
        self.by_point: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            point = getattr(event, "point", None)
            if point is not None and not isinstance(event, Lease):
                self.by_point[point].append(event)
        self.judgements = {point.id: judgement_of(self._reports(point.id)) for point in expected}
        deselected = self._ids(Deselected)
        self.left_out = tuple(point.id for point in expected if point.id in deselected - self._ids(Selected))
        self.overlapping: dict[str, list[str]] = defaultdict(list)
        for one, other in lease_rules.overlaps(self.leases):
            for lease, rival in ((one, other), (other, one)):
                sentence = (
                    f"held {lease.scope} {lease.resource} while {rival.point} on {rival.worker} also held it: "
                    "the measurements disturbed each other"
                )
                self.overlapping[lease.point].append(sentence)

    def _ids(self, kind: type[Selected | Deselected]) -> set[str]:
        return {event.point for event in self.events if isinstance(event, kind)}

    def points(self) -> Iterator[PointVerdict]:
        """Yield a verdict for each point of the plan that was selected or must run."""
        must_run = self._must_run()
        for point in self.expected:
            if point.id not in self.left_out:
                yield self._verdict(point, list(self._findings(point)))
            elif why := must_run.get(point.id):
                yield self._verdict(
                    point, [missing("left-out", f"excluded by the user's selection, but {why}")]
                )

    def _must_run(self) -> dict[str, str]:
        """Return the points that no selection may exclude, each with the reason."""
        must = dict.fromkeys(self.known, "--complete requires every point") if self.session.complete else {}
        if self.session.expectation is not None:
            must |= dict.fromkeys(self.session.expectation.points, "the expectation names it")
        return must

    def points_expected_elsewhere(self) -> Iterator[PointVerdict]:
        """Yield a verdict for each point that the expectation names and the suites do not declare."""
        if self.session.expectation is not None:
            for name, digest in self.session.expectation.points.items():
                if name not in self.known:
                    reason = Reason(
                        "not-declared", "the expectation names it, but no suite of this session declares it"
                    )
                    yield PointVerdict(id=name, outcome=Outcome.MISSING, reasons=(reason,), digest=digest)

    def _verdict(self, point: ExpectedPoint, findings: list[Finding]) -> PointVerdict:
        judgement = self.judgements[point.id]
        check = self.evidence.get(point.id)
        return PointVerdict(
            id=point.id,
            outcome=worst(finding.outcome for finding in findings),
            reasons=tuple(dict.fromkeys(finding.reason for finding in findings)),
            bounds=judgement.bounds if judgement else (),
            labels=judgement.labels if judgement else (),
            origin=point.origin,
            digest=point.digest,
            evidence=check.path if check else None,
            evidence_digest=check.digest if check else None,
        )

    def _reports(self, name: str) -> list[Report]:
        return [event for event in self.by_point[name] if isinstance(event, Report)]

    def _findings(self, point: ExpectedPoint) -> Iterator[Finding]:
        """Yield why a selected point does not pass; nothing if it passes."""
        events = self.by_point[point.id]
        reports = self._reports(point.id)
        judgement = self.judgements[point.id]
        check = self.evidence.get(point.id)
        for event in events:
            if isinstance(event, WorkerCrashed):
                yield error(
                    "worker-crashed",
                    f"{event.worker} died while running it, and it was not started again: {event.detail}",
                )
            elif isinstance(event, Fault):
                yield error(event.code, event.sentence)
        yield from self._selection(events)
        withheld = [event for event in events if isinstance(event, Withheld)]
        if withheld and not any(report.stage == "call" for report in reports):
            yield from (missing("withheld", event.sentence) for event in withheld)
        else:
            yield from (
                error("contradiction", f"was run although withheld: {item.sentence}") for item in withheld
            )
            if reports or any(isinstance(event, Selected) for event in events):
                yield from findings_of_reports(reports, interrupted=self.interrupted)
        yield from findings_of_evidence(point, judgement, check, self.session.nonce)
        yield from (error("overlap", sentence) for sentence in self.overlapping[point.id])
        if judgement is not None:
            yield from findings_of_labels(judgement.labels, self.session)
            if judgement.outcome is not Outcome.ERROR:
                faults = lease_rules.faults_of(point, self.leases, check.requests_ns if check else None)
                yield from (error("lease", sentence) for sentence in faults)
        yield from self._expected_digest(point)

    def _selection(self, events: Sequence[Event]) -> Iterator[Finding]:
        kinds = {type(event) for event in events}
        if Selected in kinds and Deselected in kinds:
            yield error("contradiction", "both selected and deselected: another plugin changed the selection")
        if Selected not in kinds:
            if Collected in kinds:
                yield error("removed", "collected, then removed by something other than the user's selection")
            else:
                yield missing("not-collected", "declared by the suites, but not collected")
        elif Collected not in kinds:
            yield missing(
                "not-collected",
                "selected, but no test function collected it: the marker or the file is missing",
            )
        collected = Counter(event.worker for event in events if isinstance(event, Collected))
        for worker, times in collected.items():
            if times > 1:
                yield error(
                    "collected-twice",
                    f"{worker} collected {times} judging items for it: expected one; "
                    "set judge=False on the others",
                )

    def _expected_digest(self, point: ExpectedPoint) -> Iterator[Finding]:
        if self.session.expectation is not None:
            wanted = self.session.expectation.points.get(point.id)
            if wanted is not None and wanted != point.digest:
                yield error(
                    "other-than-expected",
                    f"the expectation names a point with digest {wanted}, but the suites declare {point.digest}: "
                    "compare both with `pytest-bench plan`",
                )

    def faults(self, points: Sequence[PointVerdict]) -> Iterator[Reason]:
        """Yield the faults of the session as a whole."""
        for event in self.events:
            if isinstance(event, Refused):
                yield Reason("refused", event.sentence)
        if self.interrupted:
            yield Reason("interrupted", "interrupted: finished points were kept, the others did not run")
        status = self.session.pytest_exit_status
        if status is None and not self.refused:
            yield Reason(
                NOT_ENDED, "the session has not ended: it is still running, or its process was killed"
            )
        if status is not None and not self.refused:
            yield from self._plan_faults(points)
        yield from self._unplanned()
        for event in self.events:
            if isinstance(event, WorkerCrashed) and event.point is None:
                yield Reason("worker-crashed", f"process {event.worker} died: {event.detail}")
            elif isinstance(event, Fault) and event.point is None:
                yield Reason(event.code, event.sentence)
        if status is not None and not self._accounts_for(status, points):
            yield Reason(
                "pytest-exit",
                f"pytest exited with status {status}, which no point explains: see its output",
            )

    def _accounts_for(self, status: int, points: Sequence[PointVerdict]) -> bool:
        """Whether other findings already explain pytest's exit status."""
        if self._has_fault("cut-off"):
            return True
        match status:
            case 0:
                return True
            case 1:  # tests failed
                return self._has_fault("collection-error") or any(
                    point.outcome is not Outcome.PASS for point in points
                )
            case 2:
                return self.interrupted or self._has_fault("collection-error", "stopped")
            case 3:
                return self._has_fault("internal-error")
            case 4:
                return self.refused
            case 5:  # nothing was collected or selected
                return not points or any(point.outcome is not Outcome.PASS for point in points)
        return False

    def _has_fault(self, *codes: str) -> bool:
        return any(isinstance(event, Fault) and event.code in codes for event in self.events)

    def _plan_faults(self, points: Sequence[PointVerdict]) -> Iterator[Reason]:
        if not self.expected:
            yield Reason("no-points", "the suites declare no point: there is nothing to judge")
        elif not points:
            yield Reason(
                "nothing-selected", "the selection excludes every point: check -k, -m and the paths given"
            )
        for name, times in Counter(point.id for point in self.expected).items():
            if times > 1:
                yield Reason("duplicate-point", f"the plan contains {name} {times} times")
        expectation = self.session.expectation
        if expectation is not None and expectation.plan_digest not in {None, self.session.plan_digest}:
            yield Reason(
                "other-plan",
                f"the expectation was made from plan {expectation.plan_digest}, "
                f"this session runs {self.session.plan_digest}",
            )

    def _unplanned(self) -> Iterator[Reason]:
        """Yield events, evidence and leases of points that must not have any."""
        seen = {
            "reported": {name for name, events in self.by_point.items() if events},
            "leased": {lease.point for lease in self.leases},
            "backed by evidence": set(self.evidence),
        }
        for what, found in seen.items():
            for name in sorted(found - self.known):
                yield Reason("unknown-point", f"{name} was {what}, but is not in the plan")
        for name in self.left_out:
            if any(isinstance(event, (Report, Fault, WorkerCrashed)) for event in self.by_point[name]):
                yield Reason(
                    "ran-though-left-out",
                    f"{name} was excluded by the user's selection, but has reports",
                )
