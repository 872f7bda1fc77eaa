"""A whole results folder against itself, and against an expectation."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.audits.registry import Registry, registry
from pytest_bench.errors import EvidenceError
from pytest_bench.files import LARGEST_JSON, read_json, read_plain
from pytest_bench.suite.plan import Plan
from pytest_bench.suite.plan_file import NAME as PLAN
from pytest_bench.suite.plan_file import PlanFile, read_plan
from pytest_bench.verdict.events import EvidenceCheck, Expectation, Report, Withheld
from pytest_bench.verdict.evidence import check_evidence
from pytest_bench.verdict.kept import way_back
from pytest_bench.verdict.ledger import settle
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.points import judgement_of
from pytest_bench.verdict.record import NAME as LEDGER
from pytest_bench.verdict.record import WITHHELD, WITHHELD_VERSION, SessionRecord, WithheldFile, read_record
from pytest_bench.verdict.verdict import Verdict, read_verdict
from pytest_bench.verify import junit
from pytest_bench.verify.differences import differences, unsaid
from pytest_bench.verify.point import SessionContext, verify_point
from pytest_bench.verify.unended import why_unsettled

ENVIRONMENT = "environment.json"
VERDICT = "verdict.json"


@dataclass(frozen=True, kw_only=True)
class VerifiedSession:
    """What a results folder amounts to today."""

    verdict: Verdict | None
    """Settled anew, from files alone; None where they do not suffice."""
    plan: Plan | None
    problems: tuple[str, ...]
    """Where files are damaged, or contradict each other or their own logs."""
    notes: tuple[str, ...] = ()
    """What could not be looked at, and is wrong with nothing for that."""

    @property
    def sound(self) -> bool:
        """Whether the folder holds what it says it holds. It may still say that points failed."""
        return not self.problems and self.verdict is not None


def verify_session(
    results: Path,
    expectation: Expectation | None = None,
    *,
    audits: Registry | None = None,
    junit_file: Path | None = None,
) -> VerifiedSession:
    """Judge a results folder again. Whatever its files hold, this returns.

    With an `expectation`, the verdict says whether what it names ran and passed. `audits` knows more than the
    shipped ones; `junit_file` is held against the verdict where the folder's own is not the one that counts.
    """
    problems: list[str] = []
    planned = _read(problems, lambda: read_plan(results))
    plan = None if planned is None else planned.plan
    said = _read(problems, lambda: read_verdict(results / VERDICT))
    record = _read(problems, lambda: read_record(results))
    if planned is None or plan is None or record is None:
        begun = [
            point.id for point in (plan.points if plan else ()) if _is_folder(results, f"points/{point.id}")
        ]
        why = tuple(why_unsettled(results, said, planned, begun))
        return VerifiedSession(verdict=None, plan=plan, problems=why or tuple(_within(results, problems)))
    nonce = planned.nonce
    problems += unsaid(results / PLAN, planned)
    problems += unsaid(results / LEDGER, record)
    problems += _agreement(planned, record)
    problems += _written_first(results, record)
    checks = dict(_checks(results, plan))
    problems += _strays(results, plan)
    settled = msgspec.structs.replace(
        settle(record.expected, record.events, checks, record.leases, record.facts),
        ledger_digest=_sha256(results / LEDGER),
    )
    back = None if said is None or not said.refused else way_back(results, nonce)
    if back is not None:
        problems.append(f"{VERDICT}: is of a later call, which was refused: {back}")
    elif said is not None:
        problems += unsaid(results / VERDICT, settled)
    problems += _withheld(results, plan, record, settled)
    context = SessionContext(
        plan=plan, nonce=nonce, audits=audits or registry(), began=_began(results, plan, record)
    )
    for point in plan.points:
        if (check := checks.get(point.id)) is not None and not check.errors:
            reports = [item for item in record.events if isinstance(item, Report) and item.point == point.id]
            folder, told = results / check.path, judgement_of(reports)
            sentences = verify_point(context, point, folder, told)
            problems += (f"{check.path}/{sentence}" for sentence in sentences)
        elif check is not None:
            problems += check.errors
    junit_path = junit_file or junit.place(results, settled.invocation)
    notes: tuple[str, ...] = ()
    if junit_path is None:
        notes = (
            "its JUnit file was written elsewhere (--junitxml) and is not verified: name it with --junit FILE",
        )
    elif back is None:  # which was set aside together with its JUnit file
        problems += junit.disagreements(junit_path, settled, results)
    if expectation is not None:
        facts = msgspec.structs.replace(record.facts, expectation=expectation)
        settled = msgspec.structs.replace(
            settle(record.expected, record.events, checks, record.leases, facts),
            ledger_digest=settled.ledger_digest,
        )
    return VerifiedSession(
        verdict=settled,
        plan=plan,
        problems=tuple(dict.fromkeys(_within(results, problems))),
        notes=notes,
    )


def _read(problems: list[str], read: Any) -> Any:
    try:
        return read()
    except EvidenceError as error:
        problems.append(str(error))
        return None


def _within(results: Path, problems: list[str]) -> list[str]:
    """Paths as people look for them: below the folder that they named."""
    whole = re.compile(rf"(?<![\w./-]){re.escape(str(results))}/")
    return [whole.sub("", problem) for problem in problems]


def _written_first(results: Path, record: SessionRecord) -> Iterator[str]:
    """What the session wrote before anything was started still has the bytes that it had then."""
    for name in (PLAN, ENVIRONMENT):
        found, wanted = _sha256(results / name), record.facts.files.get(name)
        if found is None:
            yield f"{name}: is missing, or no plain file that can be read"
        elif found != wanted:
            yield f"{name}: was altered: its sha256 is {found}, {wanted} when the session began"


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(read_plain(path, LARGEST_JSON)).hexdigest()
    except (EvidenceError, OSError):
        return None


def _agreement(planned: PlanFile, record: SessionRecord) -> Iterator[str]:
    """What the ledger was told to expect is what the plan asks for."""
    plan = planned.plan
    facts = {"nonce": record.facts.nonce, "plan_digest": record.facts.plan_digest}
    wanted = {"nonce": planned.nonce, "plan_digest": planned.digest}
    yield from (f"{LEDGER}: {sentence}" for sentence in differences(facts, wanted, "facts"))
    expected = [[point.id, point.digest, sorted(point.leases), point.origin] for point in record.expected]
    asked = [
        [point.id, plan.point_digest(point), ["endpoint", "host"], point.origin] for point in plan.points
    ]
    yield from (f"{LEDGER}: {sentence}" for sentence in differences(expected, asked, "expected"))


def _began(results: Path, plan: Plan, record: SessionRecord) -> dict[str, int]:
    """When points that sent anything began, ns: the last host lease of each is for its run, any other for bringing
    its deployment up."""
    began: dict[str, int] = {}
    for lease in record.leases:
        if lease.scope == "host":
            began[lease.point] = max(lease.start_ns, began.get(lease.point, lease.start_ns))
    sent = {point.id for point in plan.points if _is_folder(results, f"points/{point.id}/phases")}
    return {name: start_ns for name, start_ns in began.items() if name in sent}


def _checks(results: Path, plan: Plan) -> Iterator[tuple[str, EvidenceCheck]]:
    for point in plan.points:
        path = f"points/{point.id}"
        if _is_folder(results, path):
            yield point.id, check_evidence(results / path, path=path, point=point.id)


def _is_folder(results: Path, path: str) -> bool:
    """Whether it is a folder, reached without a link; a point's id is only text until then."""
    here = results
    for part in path.split("/"):
        here = here / part
        try:
            if part in {"", ".", ".."} or not stat.S_ISDIR(here.lstat().st_mode):
                return False
        except (OSError, ValueError):
            return False
    return True


def _withheld(results: Path, plan: Plan, record: SessionRecord, settled: Verdict) -> Iterator[str]:
    """What each deployment was left with: a note of this session's, where points on it were held back."""
    suites = {point.id: point.suite for point in plan.points}
    held_back = {suites.get(event.point) for event in record.events if isinstance(event, Withheld)}
    passed = {point.id for point in settled.points if point.outcome is Outcome.PASS}
    for suite in plan.deployments:
        name = f"deployments/{suite}/{WITHHELD}"
        if not _is_folder(results, f"deployments/{suite}") or not os.path.lexists(results / name):
            if suite in held_back:
                yield f"{name}: is missing, and points of {suite} were held back"
            continue
        try:
            said = msgspec.convert(read_json(results / name), WithheldFile)
        except (EvidenceError, msgspec.ValidationError) as error:
            yield f"{name}: says nothing of what was held back: {error}"
            continue
        found = (said.version, said.nonce, suites.get(said.audit), said.audit in passed)
        if found != (WITHHELD_VERSION, record.facts.nonce, suite, False):
            yield (
                f"{name}: is version {said.version}, of session {said.nonce}, of the audit {said.audit}; expected "
                f"version {WITHHELD_VERSION}, session {record.facts.nonce}, and an audit of {suite} that did not pass"
            )


def _strays(results: Path, plan: Plan) -> Iterator[str]:
    """Evidence that belongs to no point."""
    known = {f"points/{point.id}" for point in plan.points}
    try:
        for path in sorted((results / "points").rglob("evidence.json")):
            folder = path.parent.relative_to(results).as_posix()
            if not any(f"{folder}/".startswith(f"{name}/") for name in known):
                yield f"{folder}: is evidence of no point of the plan"
    except OSError as error:
        yield f"points: cannot be listed: {error.strerror or error}"
