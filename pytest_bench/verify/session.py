"""Verifies a whole results folder for consistency, and against an expectation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pytest_bench.audits.registry import Registry, registry
from pytest_bench.errors import BenchError, EvidenceError
from pytest_bench.evals.results import METADATA
from pytest_bench.evals.sweeps import metadata_of
from pytest_bench.files import LARGEST_JSON, read_plain
from pytest_bench.leases import Lease
from pytest_bench.lines import excerpt
from pytest_bench.reports.published import summary_files
from pytest_bench.results import layout, withheld
from pytest_bench.results.claim import backup_names, read_verdict, restore_hint
from pytest_bench.results.differences import file_differences
from pytest_bench.results.evidence import walk
from pytest_bench.results.settle import Settled, is_folder, settle
from pytest_bench.scoring import SCORINGS, Scorings
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.plan import Plan
from pytest_bench.verdict.events import Expectation, Report, Withheld
from pytest_bench.verdict.leases import latest
from pytest_bench.verdict.outcome import Outcome
from pytest_bench.verdict.points import judgement_of
from pytest_bench.verdict.verdict import NOT_ENDED, Verdict
from pytest_bench.verify.deployments import of_other_sessions
from pytest_bench.verify.point import SessionContext, verify_point
from pytest_bench.verify.unfinished import refused, why_unfinished

_LARGEST_JUNIT = 256 << 20


@dataclass(frozen=True, kw_only=True)
class VerifiedSession:
    """The result of verifying a results folder."""

    verdict: Verdict
    """The verdict settled again, from files alone."""
    plan: Plan | None
    problems: tuple[str, ...]
    """Files that are damaged, or that contradict each other or their logs."""
    notes: tuple[str, ...] = ()
    """What was not verified."""

    @property
    def sound(self) -> bool:
        """Whether the folder is consistent. Points may still have failed."""
        return not self.problems


def verify_session(
    results: Path,
    expectation: Expectation | None = None,
    *,
    audits: Registry | None = None,
    scorings: Scorings = SCORINGS,
    junit_file: Path | None = None,
) -> VerifiedSession:
    """Judge a results folder again. Does not raise for damaged files.

    With an `expectation`, the verdict also requires that the points in it ran and passed. `audits` and
    `scorings` may contain more than the built-in ones; `junit_file` is the session's JUnit file if it is outside of the
    folder.
    """
    settled = settle(results)
    problems: list[str] = []
    notes: list[str] = []
    try:
        recorded = read_verdict(results / layout.VERDICT)
    except EvidenceError as error:
        recorded = None
        problems.append(str(error))
    if recorded is not None and recorded.refused and not os.path.lexists(results / layout.EVENTS):
        problems = list(refused(recorded))
    elif any(fault.code == NOT_ENDED for fault in settled.verdict.faults):
        problems += why_unfinished(results, settled)
    else:
        problems += _differences(results, settled, recorded, junit_file, notes)
        problems += _points(results, settled, audits or registry(), scorings, notes)
        problems += _metadata_of_evals(results, settled)
        problems += of_other_sessions(results, settled.verdict.nonce)
    if expectation is not None:
        settled = settle(results, expectation, evidence=settled.evidence)
    return VerifiedSession(
        verdict=settled.verdict,
        plan=settled.plan,
        problems=tuple(dict.fromkeys(problem.replace(f"{results}/", "") for problem in problems)),
        notes=tuple(notes),
    )


def _differences(
    results: Path, settled: Settled, recorded: Verdict | None, junit_file: Path | None, notes: list[str]
) -> Iterator[str]:
    """Yield differences of the folder's verdict, JUnit file and list of files from those settled from its events."""
    yield from (fault.sentence for fault in settled.verdict.faults if fault.code == "damaged")
    hint = restore_hint(results, settled.verdict.nonce) if recorded is not None and recorded.refused else None
    if hint is not None and not settled.verdict.refused:
        yield f"{layout.VERDICT}: is of a later call that was refused: {hint}"
    elif recorded is not None:
        yield from _altered(recorded.files, settled.verdict.files)
        yield from _summaries(results, settled.verdict, notes)
        wanted = msgspec.structs.replace(settled.verdict, files=recorded.files)
        try:
            yield from file_differences(results / layout.VERDICT, wanted, bytewise=True)
        except EvidenceError as error:
            yield str(error)
    junit = settled.called.junit
    if junit_file is None and os.path.isabs(junit):  # noqa: PTH117 # text of an event
        notes.append(
            "its JUnit file is outside of the folder (--junitxml) and was not verified: name it with --junit FILE"
        )
    elif hint is None:  # the JUnit file was renamed together with the verdict
        yield from _junit(junit_file or results / junit, settled.junit)
    lists = recorded if recorded is not None and not recorded.refused else settled.verdict
    yield from _unlisted_files(results, settled, lists, notes)
    yield from _withheld(results, settled)


def _altered(recorded: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    """Yield the files listed in the verdict that are missing or changed."""
    for name, digest in sorted(recorded.items()):
        if name not in found:
            yield f"{name}: is listed, but is missing or not a plain file"
        elif found[name] != digest:
            yield f"{name}: was altered after the session had ended"


def _summaries(results: Path, verdict: Verdict, notes: list[str]) -> Iterator[str]:
    """Yield how the summary files differ from those that follow from the verdict and the points' summaries."""
    for name, wanted in summary_files(results, verdict).items():
        path = results / name
        try:
            if read_plain(path, LARGEST_JSON) != wanted:
                yield f"{name}: is not what a session writes for this verdict and these points: it was altered"
        except FileNotFoundError:
            notes.append(f"{name}: is missing; to write the table: pytest-bench show {results}")
        except (EvidenceError, OSError) as error:
            yield f"{name}: {error}"


def _junit(path: Path, rendered: bytes) -> Iterator[str]:
    """Yield how a JUnit file differs from the one rendered from the verdict and the events."""
    try:
        if path.is_symlink():
            yield f"{path}: is a link, which a session never writes"
            return
        found = read_plain(path, _LARGEST_JUNIT)
    except FileNotFoundError:
        yield f"{path}: is missing, although every session writes one; if it is elsewhere, name it with --junit FILE"
        return
    except (EvidenceError, OSError, ValueError) as error:
        yield str(error)
        return
    if found == rendered:
        return
    lines, wanted = found.split(b"\n"), rendered.split(b"\n")
    number = next(
        (n for n, (one, other) in enumerate(zip(lines, wanted, strict=False)) if one != other), None
    )
    if number is None:
        number = min(len(lines), len(wanted)) - 1
    yield (
        f"{path}: line {number + 1} is {excerpt(lines[number])}; "
        f"rendered from the verdict and the events it is {excerpt(wanted[number])}"
    )


def _unlisted_files(results: Path, settled: Settled, recorded: Verdict, notes: list[str]) -> Iterator[str]:
    """Yield the files of the folder that are not listed anywhere."""
    problems: list[str] = []
    known = {layout.VERDICT, layout.LOCK, settled.called.junit, *recorded.files}
    known |= {layout.SUMMARY_CSV, layout.SUMMARY_JSON}
    known |= backup_names(settled.verdict.nonce)
    points = tuple(
        f"{layout.point_path(point.id)}/" for point in (settled.plan.points if settled.plan else ())
    )
    recounted = False
    for name, _ in walk(results, "", problems):
        if name.startswith(f"{layout.RECOUNTS}/"):
            recounted = True
        elif name not in known and not name.startswith(points or ("\0",)):
            yield f"{name}: is not listed: it was added after the session had ended"
    if recounted:
        notes.append(f"{layout.RECOUNTS}/: written by `pytest-bench recount` after the session; not verified")
    yield from problems


def _withheld(results: Path, settled: Settled) -> Iterator[str]:
    """Yield problems with the `withheld.json` of deployments, which exists if points were withheld."""
    plan = settled.plan
    deployments = {point.id: point.deployment_name for point in (plan.points if plan else ())}
    without_points = {deployments.get(event.point) for event in settled.events if isinstance(event, Withheld)}
    passed = {point.id for point in settled.verdict.points if point.outcome is Outcome.PASS}
    for deployment in plan.deployments if plan else ():
        name = f"{layout.deployment_path(deployment)}/{withheld.NAME}"
        if not is_folder(results, layout.deployment_path(deployment)) or not os.path.lexists(results / name):
            if deployment in without_points:
                yield f"{name}: is missing, although points of {deployment} were withheld"
            continue
        try:
            file = withheld.read_withheld(results / layout.deployment_path(deployment))
        except EvidenceError as error:
            yield str(error)
            continue
        if (file.nonce, deployments.get(file.audit), file.audit in passed) != (
            settled.verdict.nonce,
            deployment,
            False,
        ):
            yield (
                f"{name}: is of session {file.nonce} and the audit {file.audit}; expected session "
                f"{settled.verdict.nonce} and an audit of {deployment} that did not pass"
            )


def _points(
    results: Path, settled: Settled, audits: Registry, scorings: Scorings, notes: list[str]
) -> Iterator[str]:
    """Yield the contradictions between each point's evidence and its logs."""
    plan = settled.plan
    if plan is None:
        return
    context = SessionContext(
        results=results,
        plan=plan,
        nonce=settled.verdict.nonce,
        audits=audits,
        scorings=scorings,
        began=_began(results, settled),
    )
    resumed = is_folder(results, layout.SESSIONS)
    for point in plan.points:
        check = settled.evidence.get(point.id)
        if check is None:
            continue
        if resumed and point.id in settled.verdict.coverage.left_out:
            notes.append(f"{check.path}: was left out when the session was resumed; not verified")
            continue
        yield from check.errors
        if not check.errors:
            reports = [
                event for event in settled.events if isinstance(event, Report) and event.point == point.id
            ]
            sentences = verify_point(context, point, results / check.path, judgement_of(reports))
            yield from (f"{check.path}/{sentence}" for sentence in sentences)


def _metadata_of_evals(results: Path, settled: Settled) -> Iterator[str]:
    """Yield how each eval's `meta_env.json` differs from what its points came to."""
    plan = settled.plan
    points = plan.points if plan else ()
    evals = [point for point in points if point.kind == "eval" and not is_command(point)]
    for path, point in {layout.eval_path(point): point for point in evals}.items():
        if plan is None or not is_folder(results, path):
            continue
        try:
            wanted = metadata_of(plan, results, point, settled.verdict.nonce)
            for sentence in file_differences(results / path / METADATA, wanted):
                yield f"{path}/{sentence}"
        except BenchError as error:
            yield str(error)


def _began(results: Path, settled: Settled) -> dict[str, int]:
    """Return when points that sent requests began, in ns: the start of the last host lease of each point. Earlier ones
    are for starting its deployment."""
    began: dict[str, int] = {}
    for lease in latest(event for event in settled.events if isinstance(event, Lease)):
        if lease.scope == "host":
            began[lease.point] = max(lease.start_ns, began.get(lease.point, lease.start_ns))
    return {
        name: start_ns
        for name, start_ns in began.items()
        if is_folder(results, f"{layout.point_path(name)}/phases")
    }
