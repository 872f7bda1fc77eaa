"""A whole results folder against itself, and against an expectation."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from pytest_bench.audits.registry import Registry, registry
from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json
from pytest_bench.suite.plan import PLAN_VERSION, Plan
from pytest_bench.verdict.events import EvidenceCheck, Expectation, Report
from pytest_bench.verdict.evidence import check_evidence
from pytest_bench.verdict.ledger import settle
from pytest_bench.verdict.points import judgement_of
from pytest_bench.verdict.record import NAME as LEDGER
from pytest_bench.verdict.record import SessionRecord, read_record
from pytest_bench.verdict.verdict import Verdict, read_verdict
from pytest_bench.verify.differences import differences, unsaid
from pytest_bench.verify.point import verify_point

PLAN = "plan.json"
VERDICT = "verdict.json"


@dataclass(frozen=True, kw_only=True)
class VerifiedSession:
    """What a results folder amounts to today."""

    verdict: Verdict | None
    """Settled anew, from files alone; None where they do not suffice."""
    plan: Plan | None
    problems: tuple[str, ...]
    """Where files are damaged, or contradict each other or their own logs."""

    @property
    def sound(self) -> bool:
        """Whether the folder holds what it says it holds. It may still say that points failed."""
        return not self.problems and self.verdict is not None


def verify_session(
    results: Path, expectation: Expectation | None = None, *, audits: Registry | None = None
) -> VerifiedSession:
    """Judge a results folder again. Whatever its files hold, this returns.

    With an `expectation`, the verdict says whether what it names ran and passed.
    """
    problems: list[str] = []
    plan, nonce = _read(problems, lambda: _read_plan(results)) or (None, "")
    said = _read(problems, lambda: read_verdict(results / VERDICT))
    record = _read(problems, lambda: read_record(results))
    if plan is None or record is None:
        return VerifiedSession(verdict=None, plan=plan, problems=tuple(_within(results, problems)))
    problems += unsaid(results / PLAN, plan, "plan")
    problems += unsaid(results / LEDGER, record)
    problems += _agreement(plan, nonce, record)
    checks = dict(_checks(results, plan))
    problems += _strays(results, plan)
    settled = settle(record.expected, record.events, checks, record.leases, record.facts)
    if said is not None:
        problems += unsaid(results / VERDICT, settled)
    known = audits or registry()
    for point in plan.points:
        if (check := checks.get(point.id)) is not None and not check.errors:
            reports = [item for item in record.events if isinstance(item, Report) and item.point == point.id]
            sentences = verify_point(plan, nonce, point, results / check.path, judgement_of(reports), known)
            problems += (f"{check.path}/{sentence}" for sentence in sentences)
        elif check is not None:
            problems += check.errors
    if expectation is not None:
        facts = msgspec.structs.replace(record.facts, expectation=expectation)
        settled = settle(record.expected, record.events, checks, record.leases, facts)
    return VerifiedSession(
        verdict=settled, plan=plan, problems=tuple(dict.fromkeys(_within(results, problems)))
    )


def _read(problems: list[str], read: Any) -> Any:
    try:
        return read()
    except EvidenceError as error:
        problems.append(str(error))
        return None


def _within(results: Path, problems: list[str]) -> list[str]:
    """Paths as people look for them: below the folder that they named."""
    return [problem.replace(f"{results}/", "") for problem in problems]


def _read_plan(results: Path) -> tuple[Plan, str]:
    path = results / PLAN
    raw = read_json(path)
    if not isinstance(raw, dict) or not isinstance(raw.get("nonce"), str):
        raise EvidenceError(
            f"{path}: is no plan of a session: expected an object with `plan`, `digest` and `nonce`"
        )
    try:
        plan = msgspec.convert(raw.get("plan"), Plan)
        digest = plan.digest()
    except (msgspec.ValidationError, KeyError, ValueError, RecursionError) as error:
        raise EvidenceError(f"{path}: plan: is no plan: {error}") from error
    if plan.version != PLAN_VERSION:
        raise EvidenceError(f"{path}: plan.version is {plan.version}; expected {PLAN_VERSION}")
    if raw.get("digest") != digest:
        raise EvidenceError(
            f"{path}: digest is {raw.get('digest')!r}, that of its own plan is {digest}: it was altered"
        )
    return plan, raw["nonce"]


def _agreement(plan: Plan, nonce: str, record: SessionRecord) -> Iterator[str]:
    """What the ledger was told to expect is what the plan asks for."""
    facts = {"nonce": record.facts.nonce, "plan_digest": record.facts.plan_digest}
    wanted = {"nonce": nonce, "plan_digest": plan.digest()}
    yield from (f"{LEDGER}: {sentence}" for sentence in differences(facts, wanted, "facts"))
    expected = [[point.id, point.digest, sorted(point.leases), point.origin] for point in record.expected]
    planned = [
        [point.id, plan.point_digest(point), ["endpoint", "host"], point.origin] for point in plan.points
    ]
    yield from (f"{LEDGER}: {sentence}" for sentence in differences(expected, planned, "expected"))


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
