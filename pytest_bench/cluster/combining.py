"""The results of several nodes as one outcome. Pure.

A node that does not report is never good, whatever the others measured, and a value that a node did not measure is
never left out of a sum, a mean or a maximum.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from pytest_bench.cluster.tables import Table
from pytest_bench.verdict.outcome import Outcome, Reason, worst

Combine = Literal["pick", "equal", "sum", "mean", "max"]
RowName = tuple[str, str]
"""Model and metric."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status file of a node that has ended."""

    rank: int
    host: str
    exit_status: int
    """As in `subprocess`; negative: the signal that killed it."""
    ended_ns: int
    phase: str = ""
    """What it was doing last."""
    stopped: bool = False
    """Whether it was ended from outside, so that something else is the cause."""
    problem: str = ""
    """Why it failed, if the exit status does not say."""


class Combined(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    metric: str
    combine: Combine
    value: float | None
    """None: not measured, or the nodes disagree."""
    values: dict[int, float | None]
    """What each node states, by rank; a node without the row is absent."""


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome | None
    """None: pending, because not every node has reported."""
    reasons: tuple[Reason, ...]
    """The first failure first."""
    rows: tuple[Combined, ...] = ()


def judge(
    size: int,
    statuses: Mapping[int, NodeStatus],
    tables: Mapping[int, Table],
    *,
    picked: int | None,
    combine: Mapping[str, Combine],
    expect_rows: Sequence[RowName] = (),
    is_over: bool,
) -> Judged:
    """Judge what the nodes of a job reported.

    `tables` are the results by rank, and `picked` is the rank of the picked one. `combine` says by metric how values of
    several nodes become one; default `pick`. While not `is_over`, nodes may still report.
    """
    silent = [rank for rank in range(size) if rank not in statuses]
    failed = sorted(
        (status for status in statuses.values() if status.exit_status != 0),
        key=lambda status: (status.stopped, status.ended_ns, status.rank),
    )
    if silent and not is_over:
        early = [(Outcome.ERROR, reason) for reason in _failures(failed)]
        return Judged(outcome=Outcome.ERROR if early else None, reasons=tuple(reason for _, reason in early))
    unreported = [
        Reason("no-report", f"rank {rank} never reported: expected a status file of each of {size} nodes")
        for rank in silent
    ]
    # Ranks that were stopped are never the cause if another rank is silent.
    cause = f"rank {silent[0]}, which never reported" if silent and failed and failed[0].stopped else ""
    failures = list(_failures(failed, cause))
    in_order = [*unreported, *failures] if cause else [*failures, *unreported]
    findings = [(Outcome.ERROR, reason) for reason in in_order]
    rows = () if silent or failed else tuple(_combined(tables, picked, combine))
    if not findings:
        findings += _empty(size, tables, picked)
        findings += _repeated(tables)
        findings += [found for row in rows for found in _problems(row, size)]
        findings += _unexpected(rows, expect_rows)
        findings += _uncombined(tables, combine)
    outcome = worst(outcome for outcome, _ in findings)
    return Judged(outcome=outcome, reasons=tuple(dict.fromkeys(reason for _, reason in findings)), rows=rows)


_Finding = tuple[Outcome, Reason]


def _failures(failed: Sequence[NodeStatus], cause: str = "") -> Iterator[Reason]:
    """The earliest failure is the cause, unless `cause` names another; the other failures are named after it."""
    for status in failed:
        signalled = status.exit_status < 0
        how = (
            f"was killed by signal {-status.exit_status}"
            if signalled
            else f"ended with status {status.exit_status}"
        )
        subject = f"rank {status.rank} ({status.host}) {how}"
        if status is failed[0] and not cause:
            during = f" while {status.phase}" if status.phase else ""
            why = f": {status.problem}" if status.problem else ""
            yield Reason("node-failed", f"{subject}{during}{why}")
            cause = f"rank {status.rank} ({status.host})"
        else:
            yield Reason("node-stopped", f"{subject}: stopped because of {cause}")


def _empty(size: int, tables: Mapping[int, Table], picked: int | None) -> Iterator[_Finding]:
    if picked is None or picked not in tables:
        yield (
            Outcome.ERROR,
            Reason("no-results", "no table of this job could be picked; the scores of all say why"),
        )
    elif not tables[picked].rows:
        whose = "the node's table has" if size == 1 else f"the tables of all {size} nodes have"
        yield Outcome.ERROR, Reason("no-results", f"{whose} no row")


def _repeated(tables: Mapping[int, Table]) -> Iterator[_Finding]:
    for rank, table in sorted(tables.items()):
        for (model, metric), times in Counter((row.model, row.metric) for row in table.rows).items():
            if times > 1:
                sentence = f"rank {rank}: {model} {metric} is in its table {times} times, expected once"
                yield Outcome.ERROR, Reason("row-repeated", sentence)


def _combined(
    tables: Mapping[int, Table], picked: int | None, combine: Mapping[str, Combine]
) -> Iterator[Combined]:
    found: dict[RowName, dict[int, float | None]] = {}
    for rank, table in sorted(tables.items()):
        for row in table.rows:
            found.setdefault((row.model, row.metric), {})[rank] = row.value
    for (model, metric), values in found.items():
        how = combine.get(metric, "pick")
        if how == "pick" and picked not in values:
            continue  # the picked table is the whole truth about metrics that are picked
        value = values.get(picked) if how == "pick" and picked is not None else _one(how, values.values())
        yield Combined(model=model, metric=metric, combine=how, value=value, values=values)


def _one(how: Combine, values: Iterable[float | None]) -> float | None:
    numbers = list(values)
    known = [value for value in numbers if value is not None]
    if len(known) < len(numbers) or not known:
        return None
    if how in ("sum", "mean"):
        total = sum(known) / (len(known) if how == "mean" else 1)
        return total if math.isfinite(total) else None
    if how == "max":
        return max(known)
    return known[0] if len(set(known)) == 1 else None


def _problems(row: Combined, size: int) -> Iterator[_Finding]:
    name = f"{row.model} {row.metric}"
    if row.combine == "pick":
        if row.value is None:
            yield Outcome.ERROR, Reason("not-measured", f"{name}: not measured")
        return
    absent = [rank for rank in range(size) if row.values.get(rank) is None]
    if absent:
        ranks = ", ".join(map(str, absent))
        sentence = f"{name}: rank {ranks} has no measured value, and {row.combine} needs that of every node"
        yield Outcome.ERROR, Reason("not-measured", sentence)
    elif row.combine == "equal" and len(set(row.values.values())) > 1:
        stated = ", ".join(
            f"rank {rank}: {value:g}" for rank, value in row.values.items() if value is not None
        )
        yield (
            Outcome.FAIL,
            Reason("nodes-differ", f"{name}: expected the same value of every node, found {stated}"),
        )
    elif row.value is None:
        yield (
            Outcome.ERROR,
            Reason("not-finite", f"{name}: the {row.combine} of the nodes' values is too large"),
        )


def _unexpected(rows: Sequence[Combined], expected: Sequence[RowName]) -> Iterator[_Finding]:
    present = {(row.model, row.metric) for row in rows}
    for model, metric in expected:
        if (model, metric) not in present:
            yield (
                Outcome.FAIL,
                Reason("row-missing", f"{model} {metric}: expected by expect_rows, and in no table"),
            )


def _uncombined(tables: Mapping[int, Table], combine: Mapping[str, Combine]) -> Iterator[_Finding]:
    present = {row.metric for table in tables.values() for row in table.rows}
    for metric in combine:
        if metric not in present:
            yield Outcome.FAIL, Reason("row-missing", f"{metric}: expected by combine, and in no table")
