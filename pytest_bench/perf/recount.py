"""Token metrics again, from the logs alone: with another tokenizer, or because counting failed.

Evidence is never touched: what is found goes into a folder of its own, `recounts/`, beside the points of the
session, and the old summary stays where it is.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from pytest_bench import clock
from pytest_bench.errors import EvidenceError
from pytest_bench.files import read_json, write_json
from pytest_bench.perf.point import MEASURED, assess
from pytest_bench.running import summary as summaries
from pytest_bench.running.bench import Bench
from pytest_bench.running.counting import count_phase
from pytest_bench.running.summary import Summary, read_summary
from pytest_bench.suite.plan import Plan, Point
from pytest_bench.tokens.counts import COUNTS_LOG
from pytest_bench.tokens.pool import TokenizerPool
from pytest_bench.tokens.wire import BackendChoice

RECOUNTS = "recounts"


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
    wanted: Callable[[Point], bool] = lambda _: True,
) -> Iterator[Recounted]:
    """Count and measure every performance point of a session again, one after the other.

    `tokenizer` and `backend` stand in for those of the suites. Raises `EvidenceError` where the results do not
    hold what is needed (a damaged log, texts that were not kept, a dataset that has changed since) and
    `TokensError` where the tokenizer cannot be loaded.
    """
    plan, nonce = _plan_of(results)
    plan = _with_tokenizer(plan, tokenizer, backend)
    home = results / RECOUNTS / f"{clock.utc_now().replace(':', '')}-{secrets.token_hex(3)}"
    with TokenizerPool() as pool:
        bench = Bench(
            plan=plan,
            nonce=nonce,
            results=results,
            tokenizer_pool=pool,
            on_progress=lambda *_: None,
            rerun=lambda point: f"pytest-bench recount {results} --point {point.id}",
        )
        for point in plan.points:
            if point.kind == "perf" and wanted(point) and (bench.folder(point) / summaries.NAME).is_file():
                yield _recount_point(bench, point, home / point.id)


def _recount_point(bench: Bench, point: Point, folder: Path) -> Recounted:
    evidence = bench.folder(point)
    before = read_summary(evidence)
    phases = [msgspec.structs.replace(phase, folder=str(evidence / phase.folder)) for phase in before.phases]
    measured = next((phase for phase in phases if phase.label == MEASURED), None)
    if measured is None:
        raise EvidenceError(f"{evidence}: has no phase {MEASURED!r} to count again")
    _check_dataset(bench, point, before)
    folder.mkdir(parents=True)
    counted = count_phase(
        bench, point, bench.plan.deployments[point.suite], measured, output=folder / COUNTS_LOG
    )
    rows = bench.dataset(point.suite, str(point.dataset)).rows
    measurement, judgement = assess(bench.plan.deployments[point.suite], point, phases, counted, rows)
    after = msgspec.structs.replace(
        before,
        judgement=msgspec.structs.replace(judgement, labels=before.judgement.labels),
        measurement=measurement,
        tokenizer=None if counted.evidence is None else dict(counted.evidence),
    )
    write_json(folder / summaries.NAME, after)
    return Recounted(point=point, before=before, after=after, folder=folder)


def _plan_of(results: Path) -> tuple[Plan, str]:
    path = results / "plan.json"
    raw = read_json(path)
    try:
        return msgspec.convert(raw["plan"], Plan), str(raw["nonce"])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise EvidenceError(f"{path}: is no plan of a session: {error}") from error


def _with_tokenizer(plan: Plan, tokenizer: str | None, backend: BackendChoice | None) -> Plan:
    changes = {
        name: value for name, value in (("tokenizer", tokenizer), ("backend", backend)) if value is not None
    }
    return msgspec.structs.replace(
        plan,
        deployments={
            name: msgspec.structs.replace(
                deployment, tokens=msgspec.structs.replace(deployment.tokens, **changes)
            )
            for name, deployment in plan.deployments.items()
        },
    )


def _check_dataset(bench: Bench, point: Point, before: Summary) -> None:
    if before.dataset is None or point.dataset is None:
        return
    found = bench.dataset(point.suite, point.dataset).digest
    if found != before.dataset.digest:
        raise EvidenceError(
            f"{point.id}: the dataset {point.dataset!r} has changed since it was used (its rows have digest "
            f"{found}, then {before.dataset.digest}): bring the old file back to count its inputs again"
        )
