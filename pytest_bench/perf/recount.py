"""Recomputes token metrics from the logs alone: with another tokenizer, or because counting failed.

Evidence is never changed: results are written to the folder `recounts/`, beside the points of the session. Inputs are
counted from the dataset, which must not have changed. Synthetic prompts are generated again, with the tokenizer that
they were generated with.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pytest_bench import clock
from pytest_bench.datasets.rows import Dataset
from pytest_bench.errors import EvidenceError, TokensError, UsageError, makes_sense
from pytest_bench.files import write_json
from pytest_bench.labels import TOKEN_LABELS
from pytest_bench.metrics.measurement import Measurement
from pytest_bench.metrics.token_source import CountRule
from pytest_bench.perf.point import MEASURED, assess, token_labels
from pytest_bench.results import phase_file
from pytest_bench.results import summary as summaries
from pytest_bench.results.details import PerfDetail
from pytest_bench.results.layout import point_path
from pytest_bench.results.plan_file import NAME as PLAN
from pytest_bench.results.plan_file import PlanFile, read_plan
from pytest_bench.results.summary import Summary, read_summary
from pytest_bench.running.counting import count_phase
from pytest_bench.running.resources import Resources
from pytest_bench.scratch import scratch_folder
from pytest_bench.suite.plan import DeploymentPlan, Plan, Point
from pytest_bench.tokens.counts import COUNTS_LOG
from pytest_bench.tokens.messages import BackendChoice
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.source import find, resolve
from pytest_bench.tokens.tokenizer import Tokenizer
from pytest_bench.verdict.outcome import Judgement, Outcome, Reason
from pytest_bench.wording import did_you_mean, one_of

RECOUNTS = "recounts"
_UNFINISHED = ".recount-"


class Recounted(NamedTuple):
    """One point, before and after."""

    point: Point
    before: Summary
    after: Summary
    folder: Path
    """Where the new summary and counts are."""


def recount(
    results: Path,
    *,
    tokenizer: str | None = None,
    backend: BackendChoice | None = None,
    count: CountRule | None = None,
    points: Collection[str] = (),
) -> Iterator[Recounted]:
    """Count and measure every performance point of a session again, one after the other.

    `tokenizer`, `backend` and `count` replace those of the suites; `points` are the ids of the points to recount,
    default all. Raises `UsageError` for an unknown point, for a folder that is not a results folder, and if there is no
    tokenizer; `EvidenceError` if the results lack what is needed (a damaged log, texts that were not kept, a dataset
    that has changed); and `TokensError` if the tokenizer cannot be loaded.
    """
    if not (results / PLAN).exists():
        raise UsageError(
            f"{results}: is not a results folder: expected one that a session wrote, with its {PLAN}"
        )
    file = read_plan(results)
    measured = [point for point in file.plan.points if has_measured(results, point)]
    _check_points(results, points, [point.id for point in measured])
    measured = [point for point in measured if not points or point.id in points]
    plan = _with_tokens(file.plan, tokenizer=tokenizer, backend=backend, count=count)
    _check_tokenizers(plan, measured, tokenizer)
    home = results / RECOUNTS / f"{clock.utc_now().replace(':', '')}-{secrets.token_hex(3)}"
    with TokenizerPool() as pool:
        resources = Resources(file.plan, pool)
        for point in measured:
            # In the same file system, because the results are moved into place.
            with scratch_folder(results, _UNFINISHED) as made:
                evidence = results / point_path(point.id)
                with makes_sense(evidence):
                    dataset = resources.dataset(point.suite, str(point.dataset))
                    before = _before(file, point, evidence)
                    _check_dataset(point, dataset, before)
                    deployment = plan.deployment_of(point)
                    after = _recount_point(
                        resources.tokenizer(deployment),
                        deployment,
                        point,
                        dataset.rows,
                        before,
                        evidence,
                        made,
                    )
                folder = home / point.id
                folder.mkdir(parents=True)
                for path in made.iterdir():
                    path.rename(folder / path.name)
            yield Recounted(point=point, before=before, after=after, folder=folder)


def has_measured(results: Path, point: Point) -> bool:
    """Whether this is a performance point whose requests all ended, even if its session ended before it counted
    them."""
    folder = results / point_path(point.id)
    return point.kind == "perf" and ((folder / summaries.NAME).is_file() or _was_driven(folder))


def _was_driven(folder: Path) -> bool:
    measured = folder / "phases" / MEASURED
    return (measured / phase_file.NAME).is_file() and phase_file.read_phase(measured).complete


def _before(file: PlanFile, point: Point, folder: Path) -> Summary:
    """The point's summary. If its session ended before it was written, a summary of what is known."""
    if (folder / summaries.NAME).is_file():
        return read_summary(folder)
    phases = [
        phase_file.read_phase(path.parent).result(path.parent.relative_to(folder))
        for path in folder.glob(f"phases/*/{phase_file.NAME}")
    ]
    reason = Reason("interrupted", "the session ended before this point was judged")
    return Summary(
        point=point.id,
        point_digest=file.plan.point_digest(point),
        nonce=file.nonce,
        judgement=Judgement(outcome=Outcome.ERROR, reasons=(reason,)),
        measurement=None,
        phases=tuple(sorted(phases, key=lambda phase: phase.start_ns)),
        dataset=None,
        detail=PerfDetail(),
    )


def _check_points(results: Path, wanted: Collection[str], known: Sequence[str]) -> None:
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"{results}: measured no performance point {name!r}; expected one of {one_of(known)}"
                f"{did_you_mean(name, known)}"
                if known
                else f"{results}: measured no performance point at all"
            )


def _check_tokenizers(plan: Plan, points: Sequence[Point], given: str | None) -> None:
    """Raises `UsageError` unless there is a tokenizer for each point."""
    suites = dict.fromkeys(point.suite for point in points)
    without = [name for name in suites if _is_without(plan, name)]
    if without:
        rest = ", or name with --point those of the others" if len(without) < len(suites) else ""
        raise UsageError(
            f"nothing to count with: give --tokenizer{rest}; of the measured suites these name none: "
            f"{', '.join(without)}"
        )
    if given is not None:
        try:
            resolve(given)
        except TokensError as error:
            raise UsageError(
                f"{error}; --tokenizer takes a folder, a tokenizer.json or tiktoken file, or a hub id"
            ) from error


def _is_without(plan: Plan, suite: str) -> bool:
    """Whether a suite has no tokenizer: it names none, and none is found by the name of its model."""
    deployment = plan.deployments[suite]
    named = deployment.tokens.tokenizer is not None
    return not named and find(None, deployment.tokenizer_model, plan.folder(suite)) is None


def _recount_point(
    tokenizer: Tokenizer | None,
    deployment: DeploymentPlan,
    point: Point,
    rows: Sequence[Mapping[str, Any]],
    before: Summary,
    evidence: Path,
    folder: Path,
) -> Summary:
    """Count the phase in `evidence` again; write the new summary and the counts into `folder`."""
    phases = [msgspec.structs.replace(phase, folder=str(evidence / phase.folder)) for phase in before.phases]
    measured = next((phase for phase in phases if phase.label == MEASURED), None)
    if measured is None:
        raise EvidenceError(f"{evidence}: has no phase {MEASURED!r} to count again")
    counted = count_phase(
        tokenizer, deployment, measured, rows, texts=point.texts, output=folder / COUNTS_LOG
    )
    measurement, judgement = assess(deployment, point, phases, counted, rows)
    after = msgspec.structs.replace(
        before,
        judgement=msgspec.structs.replace(judgement, labels=_labels(before, measurement)),
        measurement=measurement,
        tokenizer=None if counted.evidence is None else dict(counted.evidence),
    )
    write_json(folder / summaries.NAME, after)
    return after


def _labels(before: Summary, measurement: Measurement) -> tuple[str, ...]:
    """The labels of a point after counting again: those about tokens follow from the new counts."""
    kept = (label for label in before.judgement.labels if label not in TOKEN_LABELS)
    return (*kept, *token_labels(measurement))


def _with_tokens(plan: Plan, **given: str | None) -> Plan:
    changes = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(
        plan,
        deployments={
            name: msgspec.structs.replace(
                deployment, tokens=msgspec.structs.replace(deployment.tokens, **changes)
            )
            for name, deployment in plan.deployments.items()
        },
    )


def _check_dataset(point: Point, dataset: Dataset, before: Summary) -> None:
    found = dataset.digest
    if before.dataset is not None and found != before.dataset.digest:
        raise EvidenceError(
            f"{point.id}: the dataset {point.dataset!r} has changed since it was used (its rows have digest "
            f"{found}, then {before.dataset.digest}): bring the old file back to count its inputs again"
        )
