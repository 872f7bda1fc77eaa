"""One point's evidence against its own logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from pytest_bench.audits.contract import AuditResult, Undecided
from pytest_bench.audits.point import judgement_of, measurement_of
from pytest_bench.audits.registry import Registry
from pytest_bench.audits.reverify import reverify
from pytest_bench.errors import BenchError, EvidenceError
from pytest_bench.files import read_json
from pytest_bench.lines import LineReader
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.perf.remeasure import from_rows, remeasure, shortfalls
from pytest_bench.records import REQUESTS_VERSION
from pytest_bench.running import summary as summaries
from pytest_bench.running.measuring import untrustworthy
from pytest_bench.running.summary import Summary, read_summary
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.verdict.outcome import Judgement
from pytest_bench.verdict.points import MEASURED
from pytest_bench.verify.differences import differences, plain, unsaid

_LABEL = re.compile(r"[a-z0-9_-]+")


def verify_point(
    plan: Plan, nonce: str, point: Point, folder: Path, said: Judgement | None, registry: Registry
) -> Iterator[str]:
    """Everything in a point's evidence that its own logs, or `said` (its report to the session), contradict.

    `folder` is whole evidence: every listed file is there, with the bytes it was written with.
    """
    try:
        summary = read_summary(folder)
        yield from unsaid(folder / summaries.NAME, summary)
        yield from _identity(plan, nonce, point, folder, summary)
        if said is not None:
            yield from _named(differences(plain(summary.judgement), plain(said), "judgement"))
        for number, phase in enumerate(summary.phases):
            if not _LABEL.fullmatch(phase.label) or phase.folder != f"phases/{phase.label}":
                raise EvidenceError(f"{summaries.NAME}: phases[{number}].folder is not that of its label")
            yield from _phase(nonce, point, folder, summary, number)
        if summary.judgement.outcome in MEASURED:
            again = _perf if point.kind == "perf" else _audit
            yield from again(plan, point, folder, summary, registry)
    except (BenchError, Undecided) as error:
        yield str(error).removeprefix(f"{folder}/")
    except OSError as error:
        yield f"{error.filename or folder}: cannot be read: {error.strerror or error}"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What the files say has the right types and makes no sense: the arithmetic on it fails.
        yield f"{summaries.NAME}: cannot be worked out from the logs: {type(error).__name__}: {error}"


def _identity(plan: Plan, nonce: str, point: Point, folder: Path, summary: Summary) -> Iterator[str]:
    digest = plan.point_digest(point)
    wanted = {"point": point.id, "point_digest": digest, "nonce": nonce}
    yield from _named(differences({name: getattr(summary, name) for name in wanted}, wanted))
    resolved = {"point": plain(point), "digest": digest, "nonce": nonce}
    yield from (
        f"point.json: {sentence}" for sentence in differences(read_json(folder / "point.json"), resolved)
    )


def _phase(nonce: str, point: Point, folder: Path, summary: Summary, number: int) -> Iterator[str]:
    phase = summary.phases[number]
    here = f"phases/{phase.label}"
    said = plain(msgspec.structs.replace(phase, folder=""))
    own = read_json(folder / here / "phase.json")
    if not isinstance(own, dict):
        raise EvidenceError(f"{here}/phase.json: is no account of a phase")
    yield from _named(differences(said, own | {"folder": ""}, f"phases[{number}]"))
    for kind in ("requests", "texts"):
        for path in sorted((folder / here).glob(f"{kind}.*.jsonl")):
            reader = LineReader(path, kind, REQUESTS_VERSION)
            for _ in reader:  # every line proves itself as it is read
                pass
            if phase.complete:
                reader.require_complete()
            wanted = {"nonce": nonce, "point": point.id, "phase": phase.label}
            found = {name: reader.header.get(name) for name in wanted}
            yield from (f"{here}/{path.name}: header: {sentence}" for sentence in differences(found, wanted))


def _perf(plan: Plan, point: Point, folder: Path, summary: Summary, _: Registry) -> Iterator[str]:
    with TemporaryDirectory(prefix="pytest-bench-") as scratch:
        measurement, judgement = remeasure(plan, point, folder, summary, Path(scratch))
    yield from _measurement(summary, measurement)
    bounds = tuple(item for item in summary.judgement.bounds if not from_rows(item.bound.metric))
    without_rows = msgspec.structs.replace(summary.judgement, bounds=bounds)
    if len(bounds) < len(summary.judgement.bounds):
        # What decided it may be the bound that needs the dataset: the rest is compared all the same.
        judgement = msgspec.structs.replace(
            judgement, outcome=without_rows.outcome, reasons=without_rows.reasons
        )
    yield from _named(differences(plain(without_rows), plain(judgement), "judgement"))
    for sentence in shortfalls(point, summary.phases[-1]):
        yield f"{summaries.NAME}: phases[{len(summary.phases) - 1}].{sentence}"


def _audit(plan: Plan, point: Point, folder: Path, summary: Summary, registry: Registry) -> Iterator[str]:
    for reason in untrustworthy(summary.phases):
        yield f"{summaries.NAME}: claims {summary.judgement.outcome}, although {reason.sentence}"
    result, files = reverify(plan, point, folder, summary, registry)
    yield from _named(differences(summary.detail.get("result"), plain(result), "detail.result"))
    yield from _measurement(summary, measurement_of(result, summary.phases))
    yield from _judged(summary, result)
    for name, data in files.items():
        if (folder / name).read_bytes() != data:
            yield f"{name}: does not hold what the audit finds in the logs"


def _judged(summary: Summary, result: AuditResult) -> Iterator[str]:
    said, found = summary.judgement, judgement_of(result)
    yield from _named(
        differences(
            {"outcome": said.outcome, "reasons": plain(said.reasons)},
            {"outcome": found.outcome, "reasons": plain(found.reasons)},
            "judgement",
        )
    )


def _measurement(summary: Summary, found: Measurement) -> Iterator[str]:
    said, again = plain(summary.measurement), plain(found)
    for sentence in differences(said, again, "measurement"):
        metric = sentence.removeprefix("measurement.metrics.").partition(".")[0].partition(" ")[0]
        if not from_rows(metric):
            yield f"{summaries.NAME}: {sentence}"


def _named(sentences: Iterator[str]) -> Iterator[str]:
    return (f"{summaries.NAME}: {sentence}" for sentence in sentences)
