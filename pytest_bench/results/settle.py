"""`settle`: the function that turns a results folder into a verdict and a JUnit file.

The end of a session, `pytest-bench run` and `pytest-bench verify` all call it. It reads files and decides. It writes
nothing, and does not raise for damaged files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench.errors import EvidenceError
from pytest_bench.files import file_digest
from pytest_bench.results import junit, layout
from pytest_bench.results.event_log import MAIN, RUN, nonce_of, read_logs
from pytest_bench.results.evidence import check_evidence, walk
from pytest_bench.results.phase_file import requests_ns
from pytest_bench.results.plan_file import read_plan
from pytest_bench.suite.plan import Plan
from pytest_bench.verdict.events import (
    Called,
    Ended,
    Event,
    EvidenceCheck,
    Expectation,
    ExpectedPoint,
    Fault,
    Planned,
    SessionRecord,
    WorkerBegan,
    WorkerCrashed,
)
from pytest_bench.verdict.ledger import decide
from pytest_bench.verdict.verdict import Verdict, exit_status

_LARGEST_FILE = 8 << 30
"""Maximum size in bytes of a file, other than the points' files, that is hashed."""


class Settled(NamedTuple):
    """The result of judging a results folder."""

    verdict: Verdict
    junit: bytes
    """Content of the JUnit file."""
    plan: Plan | None
    events: tuple[Event, ...]
    called: Called
    evidence: Mapping[str, EvidenceCheck]


def settle(
    results: Path,
    expectation: Expectation | None = None,
    *,
    pending: Mapping[str, Ended] | None = None,
    evidence: Mapping[str, EvidenceCheck] | None = None,
) -> Settled:
    """Judge a results folder.

    `expectation` replaces the session's own. `pending` maps a process to the `Ended` event that it is about to write.
    `evidence` contains checks that were already made; without it the evidence is checked.
    """
    problems: list[str] = []
    logs, nonce = _logs(results, problems)
    for process, event in (pending or {}).items():
        logs.setdefault(process, []).append(event)
    # Events of `pytest-bench run` take precedence over those of its child.
    first = [*logs.get(RUN, ()), *logs.get(MAIN, ())]
    plan, plan_digest = _plan(results, nonce, problems)
    called = next((event for event in first if isinstance(event, Called)), None)
    called = called or Called(started="", results=str(results), junit=layout.JUNIT)
    all_planned = [event for event in first if isinstance(event, Planned)]
    planned = all_planned[0] if all_planned else None
    for each in all_planned:
        problems += _changed_files(results, each, plan_digest)
    end, cut_off = _session_end(logs)
    events = [event for log in logs.values() for event in log]
    events += _dead_workers(logs)
    events += (Fault(code="damaged", sentence=_below(results, problem)) for problem in problems)
    events += cut_off
    expected = expectation if expectation is not None else planned.expectation if planned else None
    facts = SessionRecord(
        nonce=nonce,
        pytest_exit_status=end.status if end else None,
        plan_digest=plan_digest or "",
        complete=planned.complete if planned else False,
        expectation=expected,
        accepted_labels=planned.accepted_labels if planned else (),
        versions=called.versions,
        invocation=called.invocation,
        started=called.started or None,
        finished=end.at if end else None,
    )
    checks = dict(_checks(results, plan)) if evidence is None else evidence
    points = _expected_points(plan)
    verdict = decide(points, events, checks, facts)
    if contradicting := _contradicting_exit(logs, verdict):
        events += contradicting
        verdict = decide(points, events, checks, facts)
    verdict = msgspec.structs.replace(verdict, files=dict(listed_files(results, called)))
    rerun = planned.rerun if planned else {}
    rendered = junit.render(verdict, events, results, called=called, rerun=rerun)
    return Settled(verdict, rendered, plan, tuple(events), called, checks)


def listed_files(results: Path, called: Called) -> Iterator[tuple[str, str]]:
    """Yield path and sha256 of the files that the verdict lists: those neither listed in evidence nor rendered."""
    found = [layout.PLAN, layout.ENVIRONMENT, layout.NODE_FACTS]
    for folder in (layout.EVENTS, layout.DEPLOYMENTS, layout.EVALS, layout.SESSIONS):
        if is_folder(results, folder):
            found += [f"{folder}/{name}" for name, _ in walk(results / folder, "", [])]
    for name in sorted(found):
        digest = _digest(results / name)
        if name != called.junit and digest is not None:  # `verify` reports a file that is not listed
            yield name, digest


def _digest(path: Path) -> str | None:
    """Return the sha256 of a plain file within the size limit; None for anything else."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
            return None
        return file_digest(path)
    except (OSError, ValueError):
        return None


def is_folder(results: Path, path: str) -> bool:
    """Whether `path` below `results` is a folder, without any link in the path."""
    here = results
    for part in path.split("/"):
        here = here / part
        try:
            if part in {"", ".", ".."} or not stat.S_ISDIR(here.lstat().st_mode):
                return False
        except (OSError, ValueError):
            return False
    return True


def _logs(results: Path, problems: list[str]) -> tuple[dict[str, list[Event]], str]:
    try:
        nonce = nonce_of(results)
        return read_logs(results, nonce), nonce
    except EvidenceError as error:
        problems.append(str(error))
        return {}, ""


def _plan(results: Path, nonce: str, problems: list[str]) -> tuple[Plan | None, str | None]:
    if not os.path.lexists(results / layout.PLAN):
        return None, None
    try:
        found = read_plan(results)
    except EvidenceError as error:
        problems.append(str(error))
        return None, None
    if nonce and found.nonce != nonce:
        problems.append(
            f"{results / layout.PLAN}: is of session {found.nonce}, but the events are of session {nonce}"
        )
    return found.plan, found.digest


def _expected_points(plan: Plan | None) -> list[ExpectedPoint]:
    return [
        ExpectedPoint(
            id=point.id,
            digest=plan.point_digest(point),
            leases=("endpoint", "host") if plan.needs_endpoint(point.deployment_name) else ("host",),
            origin=point.origin,
        )
        for point in (plan.points if plan else ())
        if plan is not None
    ]


def _checks(results: Path, plan: Plan | None) -> Iterator[tuple[str, EvidenceCheck]]:
    for point in plan.points if plan else ():
        path = layout.point_path(point.id)
        if is_folder(results, path):
            yield point.id, _check(results / path, path, point.id)


def _check(folder: Path, path: str, point: str) -> EvidenceCheck:
    """Check a point's evidence, and read from it when its requests were sent."""
    check = check_evidence(folder, path=path, point=point)
    if check.errors:
        return check
    try:
        return msgspec.structs.replace(check, requests_ns=requests_ns(folder, check.nonce))
    except EvidenceError as error:
        return msgspec.structs.replace(check, errors=(str(error),))


def _changed_files(results: Path, planned: Planned, plan_digest: str | None) -> Iterator[str]:
    """Yield problems with the files written before anything was started, which must not change."""
    if plan_digest is None:
        yield f"{layout.PLAN}: is missing, or cannot be read"
    elif plan_digest != planned.plan_digest:
        yield f"{layout.PLAN}: its digest is {plan_digest}, but the session planned {planned.plan_digest}"
    for name, digest in planned.files.items():
        found = _digest(results / name)
        if found is None:
            yield f"{name}: is missing, or not a readable plain file"
        elif found != digest:
            yield f"{name}: was altered: its sha256 is {found}, but was {digest} when the session began"


def _dead_workers(logs: Mapping[str, Sequence[Event]]) -> Iterator[Event]:
    """Yield an event for each worker without a recorded end that is not already known to have crashed."""
    crashed = {event.worker for event in logs.get(MAIN, ()) if isinstance(event, WorkerCrashed)}
    for event in logs.get(MAIN, ()):
        if isinstance(event, WorkerBegan) and event.worker not in crashed:
            log = logs.get(event.worker, ())
            if not (log and isinstance(log[-1], Ended)):
                yield WorkerCrashed(worker=event.worker, detail="it did not record its end")


def _session_end(logs: Mapping[str, Sequence[Event]]) -> tuple[Ended | None, list[Fault]]:
    """Return the end of the session, or None if it has not ended, and a fault if pytest did not record it.

    Under `pytest-bench run`, the session has ended only when that command says so.
    """
    own, outer = _last_end(logs.get(MAIN, ())), _last_end(logs.get(RUN, ()))
    if RUN in logs and outer is None:
        return None, []
    if outer is not None and own is None:
        sentence = f"pytest {_how_ended(outer)} without recording the end of the session"
        return outer, [Fault(code="cut-off", sentence=sentence)]
    return own, []


def _contradicting_exit(logs: Mapping[str, Sequence[Event]], verdict: Verdict) -> list[Fault]:
    """Return a fault if pytest's process ended with another status than its session.

    The plugin raises pytest's exit status to that of the verdict, so the process may also end with that one.
    """
    own, outer = _last_end(logs.get(MAIN, ())), _last_end(logs.get(RUN, ()))
    if own is None or outer is None or outer.status in {own.status % 256, exit_status(verdict)}:
        return []
    sentence = f"pytest {_how_ended(outer)}, but its session had ended with status {own.status}"
    return [Fault(code="pytest-exit", sentence=sentence)]


def _how_ended(end: Ended) -> str:
    return f"was killed by signal {-end.status}" if end.status < 0 else f"ended with status {end.status}"


def _last_end(log: Sequence[Event]) -> Ended | None:
    return log[-1] if log and isinstance(log[-1], Ended) else None


def _below(results: Path, text: str) -> str:
    """Make paths in `text` relative to the results folder."""
    return text.replace(f"{results}/", "")
