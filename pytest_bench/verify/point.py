"""Compares one point's evidence with its own logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pytest_bench.audits.contract import Undecided
from pytest_bench.audits.order import contradictions as out_of_order
from pytest_bench.audits.point import judgement_of, measurement_of
from pytest_bench.audits.registry import Registry
from pytest_bench.audits.reverify import loads_of, reverify
from pytest_bench.errors import BenchError, EvidenceError, makes_sense
from pytest_bench.evals import remeasure as evals
from pytest_bench.evals.command import rejudge
from pytest_bench.evals.table_point import rejudge_tables
from pytest_bench.files import read_plain
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.perf.remeasure import declared_phases, from_rows, remeasure, shortfalls
from pytest_bench.records import PhaseFile, PhaseResult
from pytest_bench.results import summary as summaries
from pytest_bench.results.details import AuditDetail, CommandDetail, EvalDetail, TablesDetail
from pytest_bench.results.differences import differences, file_differences, plain
from pytest_bench.results.nonces import known_sessions, of_other_sessions
from pytest_bench.results.summary import PointFile, Summary, read_summary
from pytest_bench.running.measuring import untrustworthy
from pytest_bench.running.phases import samples_sent
from pytest_bench.running.server_log import with_log_budget
from pytest_bench.scoring import Scorings
from pytest_bench.scratch import scratch_folder
from pytest_bench.suite.command_evals import is_command
from pytest_bench.suite.plan import Kind, Plan, Point
from pytest_bench.suite.table_evals import has_tables
from pytest_bench.verdict.outcome import Judgement
from pytest_bench.verdict.points import MEASURED
from pytest_bench.verify.logs import contradictions
from pytest_bench.verify.reports import DeclaredLoad

_LARGEST_RESULT = 4 << 30


@dataclass(frozen=True, kw_only=True)
class SessionContext:
    """What all points of a session share."""

    results: Path
    """The results folder."""
    plan: Plan
    nonce: str
    audits: Registry
    scorings: Scorings
    began: Mapping[str, int]
    """When points began, in ns, for points where it is known."""


def verify_point(
    session: SessionContext, point: Point, folder: Path, reported: Judgement | None
) -> Iterator[str]:
    """Yield contradictions between a point's evidence and its logs, `session`, or `reported` (its reported judgement).

    The evidence in `folder` is intact: every listed file exists and has its original bytes.
    """
    try:
        with makes_sense(summaries.NAME):
            yield from _contradictions(session, point, folder, reported)
    except (BenchError, Undecided) as error:
        yield str(error).removeprefix(f"{folder}/")
    except OSError as error:
        yield f"{error.filename or folder}: cannot be read: {error.strerror or error}"


def _contradictions(
    session: SessionContext, point: Point, folder: Path, reported: Judgement | None
) -> Iterator[str]:
    summary = read_summary(folder)
    yield from file_differences(folder / summaries.NAME, summary)
    yield from _identity(session, point, folder, summary)
    yield from _of_other_sessions(session, point, folder, summary)
    if reported is not None:
        yield from _in_summary(differences(plain(summary.judgement), plain(reported), "judgement"))
    if isinstance(summary.detail, AuditDetail):
        yield from _in_summary(out_of_order(session.plan, point, summary.detail, session.began))
    if point.kind == "eval":
        again = _command if is_command(point) else _eval
        yield from again(session, point, folder, summary)
        return
    declared = _declared(session, point, summary)
    for phase in summary.phases:
        yield from _phase(session.nonce, point, folder, phase, declared.get(phase.label))
    if summary.judgement.outcome in MEASURED:
        yield from _MEASURE_AGAIN[point.kind](session, point, folder, summary)


def _identity(session: SessionContext, point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    digest = session.plan.point_digest(point)
    wanted = {"point": point.id, "point_digest": digest, "nonce": session.nonce}
    yield from _in_summary(differences({name: getattr(summary, name) for name in wanted}, wanted))
    kind = _command_kind(point).kind() if is_command(point) else point.kind
    yield from _in_summary(differences(summary.detail.kind(), kind, "detail.kind"))
    yield from file_differences(
        folder / summaries.POINT, PointFile(point=point, digest=digest, nonce=session.nonce)
    )


def _of_other_sessions(
    session: SessionContext, point: Point, folder: Path, summary: Summary
) -> Iterator[str]:
    resumable = point.kind == "eval" and not is_command(point)
    yield from of_other_sessions(
        folder,
        summary,
        sessions=known_sessions(session.results, session.nonce),
        phases=evals.phase_nonces(folder) if resumable else {},
    )


def _declared(session: SessionContext, point: Point, summary: Summary) -> dict[str, DeclaredLoad]:
    """Return what each phase was to do, by label; empty if that is unknown. Audits check the order of samples
    themselves."""
    if summary.dataset is None:
        return {}
    if point.kind == "perf":
        phases = list(declared_phases(session.plan, point, summary.dataset.rows))
        overlaps = any(phase.handover == "overlap" for phase in phases[:-1])
        return {
            phase.label: DeclaredLoad(
                load=phase.load,
                budget=point.budget,
                alone=not overlaps,
                order=samples_sent(phase, summary.dataset.rows),
                arrival_seed=point.arrival_seed,
            )
            for phase in phases
        }
    test = str(point.options.get("test"))
    if point.kind != "audit" or test not in session.audits.words():
        return {}
    with _asking(test):
        loads = loads_of(session.plan, point, summary, session.audits)
    return {
        label: DeclaredLoad(
            load=load, budget=point.budget, alone=True, order=None, arrival_seed=point.arrival_seed
        )
        for label, load in loads.items()
    }


@contextmanager
def _asking(test: str) -> Iterator[None]:
    """Run code of the audit `test`, which may be a third party's and raise anything, as any may on wrong findings."""
    try:
        yield
    except (BenchError, Undecided, OSError):
        raise
    except Exception as error:
        raise EvidenceError(f"the audit {test!r} failed: {type(error).__name__}: {error}") from error


def _phase(
    nonce: str, point: Point, folder: Path, phase: PhaseResult, declared: DeclaredLoad | None
) -> Iterator[str]:
    here = f"phases/{phase.label}"
    expected = PhaseFile.of(phase, point=point.id, nonce=nonce)
    header = {"nonce": nonce, "point": point.id, "phase": phase.label}
    for sentence in (
        *file_differences(folder / here / "phase.json", expected),
        *contradictions(folder / here, phase, header, declared),
    ):
        yield f"{here}/{sentence}"


def _perf(session: SessionContext, point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    with scratch_folder() as scratch:
        measurement, judgement = remeasure(session.plan, point, folder, summary, scratch)
    yield from _measurement(summary, measurement)
    bounds = tuple(item for item in summary.judgement.bounds if not from_rows(item.bound.metric))
    without_rows = msgspec.structs.replace(summary.judgement, bounds=bounds)
    if len(bounds) < len(summary.judgement.bounds):
        # The outcome may depend on the excluded bound, so it is not compared.
        judgement = msgspec.structs.replace(
            judgement, outcome=without_rows.outcome, reasons=without_rows.reasons
        )
    yield from _in_summary(differences(plain(without_rows), plain(judgement), "judgement", rounded=True))
    for sentence in shortfalls(point, summary.phases[-1]):
        yield f"{summaries.NAME}: phases[{len(summary.phases) - 1}].{sentence}"


def _eval(session: SessionContext, point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    """Score and judge an eval again, whatever its outcome, from its checkpoint."""
    nonces = evals.phase_nonces(folder)
    for phase in summary.phases:
        expected = PhaseFile.of(phase, point=point.id, nonce=nonces[phase.label])
        for sentence in file_differences(folder / "phases" / phase.label / "phase.json", expected):
            yield f"phases/{phase.label}/{sentence}"
    yield from evals.contradictions(point, folder, summary)
    again = evals.remeasure(session.plan, point, folder, summary, session.results, session.scorings)
    yield from _measurement(summary, again.measurement)
    judged = differences(plain(summary.judgement), plain(again.judgement), "judgement", rounded=True)
    yield from _in_summary(judged)
    recorded = msgspec.structs.replace(summary.detail_as(EvalDetail), note="")
    yield from _in_summary(differences(plain(recorded), plain(again.detail), "detail", rounded=True))
    for name, data in again.files.items():
        try:
            if read_plain(session.results / name, _LARGEST_RESULT) != data:
                yield f"{summaries.NAME}: its file {name} differs from what the checkpoint comes to"
        except (OSError, EvidenceError) as error:
            yield f"{summaries.NAME}: its file {name} cannot be read: {error}"


def _command(session: SessionContext, point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    """Judge the files that an eval's command wrote again, whatever the outcome."""
    judge_again = rejudge_tables if has_tables(point) else rejudge
    again = judge_again(session.plan, point, folder, summary)
    yield from _measurement(summary, again.measurement)
    judged = differences(plain(summary.judgement), plain(again.judgement), "judgement", rounded=True)
    yield from _in_summary(judged)
    recorded = msgspec.structs.replace(summary.detail_as(_command_kind(point)), note="")
    yield from _in_summary(differences(plain(recorded), plain(again.detail), "detail", rounded=True))


def _command_kind(point: Point) -> type[CommandDetail | TablesDetail]:
    return TablesDetail if has_tables(point) else CommandDetail


def _audit(session: SessionContext, point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    test = str(point.options.get("test"))
    if test not in session.audits.words():
        raise EvidenceError(
            f"{summaries.NAME}: is of the audit {test!r}, which is not installed, so it cannot be judged again; "
            "install its plugin, or name its module or file with -p"
        )
    for reason in untrustworthy(summary.phases):
        yield f"{summaries.NAME}: its outcome is {summary.judgement.outcome}, although {reason.sentence}"
    with _asking(test):
        result, files = reverify(session.plan, point, folder, summary, session.audits)
    recorded = summary.detail_as(AuditDetail).result
    yield from _in_summary(differences(plain(recorded), plain(result), "detail.result", rounded=True))
    yield from _measurement(summary, measurement_of(result, summary.phases))
    judgement = with_log_budget(judgement_of(result), session.plan.deployment_of(point), folder)
    yield from _judged(summary, judgement)
    for name, data in files.items():
        if (folder / name).read_bytes() != data:
            yield f"{name}: differs from what the audit computes from the logs"


_MEASURE_AGAIN: Mapping[Kind, Callable[[SessionContext, Point, Path, Summary], Iterator[str]]] = {
    "perf": _perf,
    "audit": _audit,
}
"""How a point of each kind is measured again from its logs, and compared with its summary."""


def _judged(summary: Summary, recomputed: Judgement) -> Iterator[str]:
    recorded = summary.judgement
    yield from _in_summary(
        differences(
            {"outcome": str(recorded.outcome), "reasons": plain(recorded.reasons)},
            {"outcome": str(recomputed.outcome), "reasons": plain(recomputed.reasons)},
            "judgement",
        )
    )


def _measurement(summary: Summary, found: Measurement) -> Iterator[str]:
    recorded, recomputed = plain(summary.measurement), plain(found)
    for sentence in differences(recorded, recomputed, "measurement", rounded=True):
        metric = sentence.removeprefix("measurement.metrics.").partition(".")[0].partition(" ")[0]
        if not from_rows(metric):
            yield f"{summaries.NAME}: {sentence}"


def _in_summary(sentences: Iterator[str]) -> Iterator[str]:
    return (f"{summaries.NAME}: {sentence}" for sentence in sentences)
